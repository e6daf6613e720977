"""What is in an image, read from its OCI archive: layer by layer, as a node unpacks it."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

_GONE, _EMPTIED = ".wh.", ".wh..wh..opq"


def files(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Contents of some files of an image.

    Source: https://github.com/opencontainers/image-spec/blob/main/layer.md, whiteouts.

    Args:
        archive: An OCI archive of one image.
        wanted: Told of each path, from the root and without a slash before it.
    """
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as whole:
        for layer in _manifest(whole)["layers"]:
            with tarfile.open(fileobj=_blob(whole, layer["digest"]), mode="r|*") as members:
                _unpack(members, wanted, found)
    return found


def digest(archive: Path) -> str:
    """Of the image's manifest."""
    with tarfile.open(archive) as whole:
        return _only_manifest(whole)


def _unpack(members: tarfile.TarFile, wanted: Callable[[str], bool], found: dict[str, bytes]) -> None:
    """Lay one layer over those before it; what it removes was in those, not in itself."""
    own: dict[str, bytes] = {}
    for member in members:
        path = PurePosixPath("/", member.name).relative_to("/")
        if path.name == _EMPTIED:
            _remove(found, f"{path.parent}/")
        elif path.name.startswith(_GONE):
            gone = str(path.with_name(path.name.removeprefix(_GONE)))
            found.pop(gone, None)
            _remove(found, f"{gone}/")
        elif member.isfile() and wanted(str(path)) and (content := members.extractfile(member)):
            own[str(path)] = content.read()
    found.update(own)


def _remove(found: dict[str, bytes], folder: str) -> None:
    for path in [one for one in found if one.startswith(folder)]:
        del found[path]


def _manifest(whole: tarfile.TarFile) -> dict[str, Any]:
    content: dict[str, Any] = json.load(_blob(whole, _only_manifest(whole)))
    return content


def _only_manifest(whole: tarfile.TarFile) -> str:
    (manifest,) = json.load(_member(whole, "index.json"))["manifests"]
    found: str = manifest["digest"]
    return found


def _blob(whole: tarfile.TarFile, digest: str) -> IO[bytes]:
    return _member(whole, f"blobs/{digest.replace(':', '/')}")


def _member(whole: tarfile.TarFile, name: str) -> IO[bytes]:
    content = whole.extractfile(name)
    if content is None:
        raise KeyError(name)
    return content
