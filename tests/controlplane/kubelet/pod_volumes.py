"""Volumes of a pod as folders. A process cannot mount: `controlplane.kubelet.pod_environment.remap` tells it where they really are."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from controlplane.kubelet.pod_environment import UnsupportedPod
from controlplane.plane.api_client import Object


class Sources(Protocol):
    """What volumes are filled with."""

    def find(self, namespace: str, plural: str, name: str) -> Object | None:
        """A Secret or ConfigMap; None when there is none."""

    def token(self, pod: Object, seconds: int, audience: str | None) -> str:
        """A token of the pod's ServiceAccount."""


class MissingSource(Exception):
    """A volume's Secret or ConfigMap is not there (yet); the text is the kubelet's."""


def make_volumes(pod: Object, folder: Path, sources: Sources) -> Mapping[str, Path]:
    """Make the folder of every volume.

    Args:
        pod: The stored pod.
        folder: Where they go.
        sources: What they are filled with.

    Returns:
        Real folder of each mounted path.
    """
    volumes = {volume["name"]: _make(volume, folder / volume["name"], pod, sources) for volume in pod["spec"].get("volumes", ())}
    mounts = pod["spec"]["containers"][0].get("volumeMounts", ())
    for mount in mounts:
        if mount.get("subPath") or mount.get("subPathExpr"):
            raise UnsupportedPod(f"subPath of volume {mount['name']}")
    return {mount["mountPath"].rstrip("/"): volumes[mount["name"]] for mount in mounts}


def _make(volume: Object, folder: Path, pod: Object, sources: Sources) -> Path:
    kind = next(key for key in volume if key != "name")
    if kind == "emptyDir":
        files: Mapping[str, bytes] = {}
    elif kind == "secret":
        files = _secret(volume, pod, sources)
    elif kind == "projected":
        files = dict(pair for source in volume["projected"]["sources"] for pair in _projected(volume, source, pod, sources))
    else:
        raise UnsupportedPod(f"volume {volume['name']} of type {kind}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        file = folder / name
        file.unlink(missing_ok=True)  # an earlier try made it, perhaps read-only
        file.write_bytes(content)
        file.chmod(volume[kind]["defaultMode"])
    return folder


def _secret(volume: Object, pod: Object, sources: Sources) -> Mapping[str, bytes]:
    source = volume["secret"]
    if source.get("items"):
        raise UnsupportedPod(f"items of the Secret volume {volume['name']}")
    secret = sources.find(pod["metadata"]["namespace"], "secrets", source["secretName"])
    if secret is None and not source.get("optional"):
        raise MissingSource(f'MountVolume.SetUp failed for volume "{volume["name"]}" : secret "{source["secretName"]}" not found')
    return {key: base64.b64decode(value) for key, value in ((secret or {}).get("data") or {}).items()}


def _projected(volume: Object, source: Object, pod: Object, sources: Sources) -> Iterator[tuple[str, bytes]]:
    """What a ServiceAccount's volume consists of. Its token is not renewed: it outlives every test."""
    ((kind, told),) = source.items()
    if kind == "serviceAccountToken":
        yield told["path"], sources.token(pod, told["expirationSeconds"], told.get("audience")).encode()
    elif kind == "configMap":
        found = sources.find(pod["metadata"]["namespace"], "configmaps", told["name"])
        if found is None:
            raise MissingSource(f'MountVolume.SetUp failed for volume "{volume["name"]}" : configmap "{told["name"]}" not found')
        yield from ((item["path"], found["data"][item["key"]].encode()) for item in told["items"])
    elif kind == "downwardAPI":
        for item in told["items"]:
            if item.get("fieldRef", {}).get("fieldPath") != "metadata.namespace":
                raise UnsupportedPod(f"downwardAPI of volume {volume['name']}")
            yield item["path"], pod["metadata"]["namespace"].encode()
    else:
        raise UnsupportedPod(f"{kind} in the projected volume {volume['name']}")
