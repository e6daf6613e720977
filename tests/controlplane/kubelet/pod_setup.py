"""From a stored pod to everything that its container needs."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from controlplane.kubelet.containers import StartedPod
from controlplane.kubelet.pod_environment import UnsupportedPod, expand, remap, resolve_environment
from controlplane.kubelet.pod_probes import PROBES
from controlplane.kubelet.pod_volumes import Sources, make_volumes
from controlplane.plane.api_client import Object

_OF_THE_MACHINE = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # set where OpenBLAS would compute wrong results without


SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_STAND_IN = """\
# Stands in for the mount of the ServiceAccount: the client finds its files where they really are.
from kubernetes.aio.config import incluster_config
incluster_config.SERVICE_TOKEN_FILENAME = {token!r}
incluster_config.SERVICE_CERT_FILENAME = {certificate!r}
"""


def set_up(
    pod: Object,
    folder: Path,
    address: str,
    image_environment: Mapping[str, str],
    sources: Sources,
    resolve: Callable[[str], str],
) -> StartedPod:
    """Make the volumes and resolve the environment. May be called again after it has raised.

    Args:
        pod: The stored pod.
        folder: Where its files go.
        address: Its IP.
        image_environment: Variables that the image sets.
        sources: What its volumes are filled with.
        resolve: Address of a pod's name; any other text unchanged.

    Raises:
        MissingSource: A Secret or ConfigMap is not there yet.
        UnsupportedPod: The pod asks for what a process cannot have.
    """
    refuse_unsupported(pod)
    metadata = pod["metadata"]
    container = pod["spec"]["containers"][0]
    volumes = make_volumes(pod, folder / "volumes", sources)
    root, message_file = folder / "root", folder / "termination-log"
    root.mkdir(parents=True, exist_ok=True)
    message_file.touch()
    variables = resolve_environment(container, pod, address)
    places = {**volumes, container["terminationMessagePath"]: message_file}
    of_the_image = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",  # python is the one of the tests
        "HOME": str(root),
        "HOSTNAME": metadata["name"],
        **{name: os.environ[name] for name in _OF_THE_MACHINE if name in os.environ},
        **image_environment,
    }
    if SERVICE_ACCOUNT in volumes:
        of_the_image["PYTHONPATH"] = str(_stand_in(volumes[SERVICE_ACCOUNT], folder / "stand-in"))
    return StartedPod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=metadata.get("labels", {}),
        command=tuple(expand(word, variables) for word in (*container["command"], *container.get("args", ()))),
        environment={**of_the_image, **{name: resolve(remap(value, places)) for name, value in variables.items()}},
        folder=root,
        address=address,
        message_file=message_file,
        log=folder / "log.txt",
    )


def _stand_in(account: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    code = _STAND_IN.format(token=str(account / "token"), certificate=str(account / "ca.crt"))
    (folder / "sitecustomize.py").write_text(code)
    return folder


def refuse_unsupported(pod: Object) -> None:
    """Raise for what a process would silently do otherwise than a node."""
    spec = pod["spec"]
    container = spec["containers"][0]
    refused = {
        "more than one container": len(spec["containers"]) > 1,
        "initContainers": bool(spec.get("initContainers")),
        f"restartPolicy {spec['restartPolicy']}": spec["restartPolicy"] not in ("Never", "Always"),
        "activeDeadlineSeconds of a pod": "activeDeadlineSeconds" in spec,
        "a container without command": not container.get("command"),
        "workingDir": "workingDir" in container,
        "startupProbe and hooks": any(key in container for key in ("startupProbe", "lifecycle")),
        "probes other than httpGet": any("httpGet" not in container.get(key, {"httpGet": {}}) for key in PROBES),
    }
    if found := [what for what, asked in refused.items() if asked]:
        raise UnsupportedPod(", ".join(found))
