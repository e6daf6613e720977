"""Environment and command of a container, resolved as the kubelet does."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from controlplane.plane.api_client import Object

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_FIELD_OF_MAP = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class UnsupportedPod(Exception):
    """The pod asks for something that this kubelet does not play."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; ``$$`` is an escaped ``$``, and a name that is not defined stays as it is written."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return _REFERENCE.sub(replacement, text)


def resolve_environment(container: Object, pod: Object, address: str) -> dict[str, str]:
    """Variables that the pod gives to its container, in order: a value may refer to those before it.

    Args:
        container: The container of the stored pod.
        pod: The stored pod.
        address: IP of the pod, which its status does not say yet.
    """
    if container.get("envFrom"):
        raise UnsupportedPod("envFrom")
    variables: dict[str, str] = {}
    for variable in container.get("env", ()):
        if source := variable.get("valueFrom"):
            variables[variable["name"]] = _from_field(source, pod, address)
        else:
            variables[variable["name"]] = expand(variable.get("value", ""), variables)
    return variables


def remap(value: str, places: Mapping[str, Path]) -> str:
    """The real place of a path that is, or lies below, a mounted one; any other value stays as it is.

    Args:
        value: Value of a variable.
        places: Real place of each mounted path.
    """
    if not value.startswith("/"):
        return value
    path = PurePosixPath(value)
    for mounted in sorted(places, key=len, reverse=True):
        if path.is_relative_to(mounted):
            return str(places[mounted] / path.relative_to(mounted))
    return value


def _from_field(source: Object, pod: Object, address: str) -> str:
    if "fieldRef" not in source:
        raise UnsupportedPod(f"env valueFrom {', '.join(source)}")
    field = source["fieldRef"]["fieldPath"]
    metadata = pod["metadata"]
    if found := _FIELD_OF_MAP.fullmatch(field):
        return str(metadata.get(found[1], {}).get(found[2], ""))
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"]["nodeName"],
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.podIP": address,
        "status.hostIP": "127.0.0.1",
    }
    if field not in fields:
        raise UnsupportedPod(f"env fieldRef {field}")
    return str(fields[field])
