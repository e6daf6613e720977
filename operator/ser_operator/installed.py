"""`python -m ser_operator.installed NAMESPACE RELEASE`, which `helm test` runs: whether SERRuns are served and the operator is ready."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from ser_core.api.serrun import API_VERSION
from ser_operator.cluster.transport import NOT_FOUND, ApiError, Transport, configuration
from ser_operator.facts.reading import Object

REQUEST_SECONDS = 30.0


def faults(resources: Object, pods: Sequence[Object]) -> list[str]:
    """What is wrong with an installation, each with a remedy; empty: nothing.

    Args:
        resources: What the API server serves of the group of SERRuns, as an `APIResourceList`.
        pods: Those of the operator.
    """
    found = []
    if "serruns" not in {one["name"] for one in resources.get("resources", ())}:
        found.append(f"the API server serves no serruns of {API_VERSION}: set crds.enabled, or apply what is in crds/")
    if not any(_is_ready(pod) for pod in pods):
        states = ", ".join(f"{pod['metadata']['name']} is {pod.get('status', {}).get('phase')}" for pod in pods) or "it has none"
        found.append(f"no pod of the operator is ready ({states}): see its log and its Events")
    return found


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def look(transport: Transport, namespace: str, release: str) -> list[str]:
    """The faults of a release.

    Raises:
        ApiError: The API server refused or did not answer.
    """
    selector = f"app.kubernetes.io/name=ser-operator,app.kubernetes.io/instance={release}"
    try:
        resources = await transport.send("GET", f"/apis/{API_VERSION}")
    except ApiError as error:
        if error.code != NOT_FOUND:
            raise
        resources = {}
    pods = await transport.send("GET", f"/api/v1/namespaces/{namespace}/pods", [("labelSelector", selector)])
    return faults(resources, pods["items"])


async def _look(namespace: str, release: str) -> list[str]:
    transport = Transport(await configuration(), REQUEST_SECONDS)
    try:
        return await look(transport, namespace, release)
    except ApiError as error:
        return [f"{error}: the API server must be reachable (networkPolicy.apiServer) and let the test look at pods"]
    finally:
        await transport.close()


def main() -> int:
    """Say what is wrong. 1: something is."""
    parser = argparse.ArgumentParser(prog="python -m ser_operator.installed", description=__doc__)
    parser.add_argument("namespace", help="of the operator")
    parser.add_argument("release", help="name of the Helm release")
    asked = parser.parse_args()
    found = asyncio.run(_look(asked.namespace, asked.release))
    print("\n".join(f"error: {one}" for one in found) or "SERRuns are served, and the operator is ready")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
