"""Volumes of a pod as folders. A process cannot mount: `controlplane.pod_environment.remap` tells it where they really are."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

from controlplane.api_client import Object
from controlplane.pod_environment import UnsupportedPod

FindSecret = Callable[[str], Object | None]


class MissingSecret(Exception):
    """A volume's Secret is not there (yet); the text is the kubelet's."""


def make_volumes(pod: Object, folder: Path, find_secret: FindSecret) -> Mapping[str, Path]:
    """Make the folder of every volume.

    Args:
        pod: The stored pod.
        folder: Where they go.
        find_secret: Looks a Secret of the pod's namespace up by name.

    Returns:
        Real folder of each mounted path.
    """
    volumes = {volume["name"]: _make(volume, folder / volume["name"], find_secret) for volume in pod["spec"].get("volumes", ())}
    mounts = pod["spec"]["containers"][0].get("volumeMounts", ())
    for mount in mounts:
        if mount.get("subPath") or mount.get("subPathExpr"):
            raise UnsupportedPod(f"subPath of volume {mount['name']}")
    return {mount["mountPath"].rstrip("/"): volumes[mount["name"]] for mount in mounts}


def _make(volume: Object, folder: Path, find_secret: FindSecret) -> Path:
    kind = next(key for key in volume if key != "name")
    if kind == "emptyDir":
        folder.mkdir(parents=True, exist_ok=True)
    elif kind == "secret":
        _write_secret(volume, folder, find_secret)
    else:
        raise UnsupportedPod(f"volume {volume['name']} of type {kind}")
    return folder


def _write_secret(volume: Object, folder: Path, find_secret: FindSecret) -> None:
    source = volume["secret"]
    if source.get("items"):
        raise UnsupportedPod(f"items of the Secret volume {volume['name']}")
    secret = find_secret(source["secretName"])
    if secret is None and not source.get("optional"):
        raise MissingSecret(f'MountVolume.SetUp failed for volume "{volume["name"]}" : secret "{source["secretName"]}" not found')
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in ((secret or {}).get("data") or {}).items():
        file = folder / key
        file.unlink(missing_ok=True)  # an earlier try made it, perhaps read-only
        file.write_bytes(base64.b64decode(value))
        file.chmod(source["defaultMode"])
