"""Where data and models come from: a folder on this machine, in an S3 store or on the hub, all read the same way."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.api.values.uris import split_s3
from ser_core.data.reading.hub.repository import Kind, open_repository
from ser_core.errors import DataError, SERError, SpecError
from ser_core.store.objects.connect import connect
from ser_core.store.objects.port import ObjectStore
from ser_core.store.objects.retry import Retry


@dataclass(frozen=True, slots=True)
class Access:
    """How stores and the hub are reached: data in S3 use the endpoint and the credentials of the run's own storage."""

    storage: StorageSpec
    hub: HubSpec
    retry: Retry | None = None
    """How long to try stores for; None: as long as a stage would."""


class Location(Protocol):
    """Files under one URI."""

    @property
    def pinned(self) -> str:
        """The URI, with the hub's revision resolved to a commit."""
        ...

    @property
    def sizes(self) -> Mapping[str, int | None]:
        """Bytes by name relative to the URI; a URI of one file has that file's name. None: not told."""
        ...

    def fetch(self, name: str, folder: Path) -> Path:
        """A local copy of one file, below ``folder`` or where it is already."""
        ...

    def beginning(self, name: str, length: int) -> bytes:
        """The first ``length`` bytes of one file, without the rest."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """Files on this machine."""

    pinned: str
    sizes: Mapping[str, int | None]
    root: Path

    def fetch(self, name: str, folder: Path) -> Path:
        """The file itself."""
        return self.root / name

    def beginning(self, name: str, length: int) -> bytes:
        """Read the start of the file."""
        with (self.root / name).open("rb") as file:
            return file.read(length)


@dataclass(frozen=True, slots=True)
class StoreFolder:
    """Objects in an S3 bucket."""

    pinned: str
    sizes: Mapping[str, int | None]
    store: ObjectStore
    keys: Mapping[str, str]

    def fetch(self, name: str, folder: Path) -> Path:
        """Download one object. Its local name is a digest: keys are data and no paths."""
        path = folder / hashlib.sha256(name.encode()).hexdigest()
        self.store.download(self.keys[name], path)
        return path

    def beginning(self, name: str, length: int) -> bytes:
        """One ranged read; none of an object without bytes, of which servers refuse every range."""
        return b"" if self.sizes[name] == 0 else self.store.beginning(self.keys[name], length)


def locate(uri: str, access: Access, kind: Kind, revision: str | None = None) -> Location:
    """The files under ``uri``.

    Args:
        uri: ``file://``, ``s3://`` or ``hf://``.
        access: Endpoints.
        kind: What is looked for; decides the hub's namespace and the error's class.
        revision: Hub revision, in place of one in the URI.

    Raises:
        DataError: Nothing is there (``DataNotFound``), for data.
        SpecError: Nothing is there (``ModelNotFound``), for a model; or the hub refuses access.
        StoreError: Store or hub cannot be reached.
    """
    if uri.startswith("hf://"):
        return open_repository(uri, access.hub, kind, revision)
    return _in_store(uri, access, kind) if uri.startswith("s3://") else _on_this_machine(uri, kind)


def not_found(kind: Kind, message: str, hint: str) -> SERError:
    """The error for a missing dataset or model."""
    if kind == "model":
        return SpecError(message, reason="ModelNotFound", hint=hint)
    return DataError(message, reason="DataNotFound", hint=hint)


def _on_this_machine(uri: str, kind: Kind) -> LocalFolder:
    path = Path(uri.removeprefix("file://"))
    try:
        if path.is_file():
            return LocalFolder(uri, {path.name: path.stat().st_size}, path.parent)
        if not path.is_dir():
            what = "is neither a file nor a folder" if path.exists() else "does not exist"
            raise not_found(kind, f"{uri} {what}", "check the path; in a SERRun file://./x begins at its file")
        return LocalFolder(uri, dict(sorted(_visible_files(path, uri, kind))), path)
    except OSError as error:
        raise not_found(kind, f"{uri} cannot be read: {error.strerror} ({error.filename})", "check path and permissions") from error


def _visible_files(root: Path, uri: str, kind: Kind) -> Iterator[tuple[str, int]]:
    """Names and sizes, also below linked folders; each folder once."""
    seen = set()
    for folder, subfolders, files in os.walk(root, onerror=_raise, followlinks=True):
        if os.path.realpath(folder) in seen:
            subfolders.clear()
            continue
        seen.add(os.path.realpath(folder))
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            path = Path(folder) / name
            if not name.startswith("."):
                relative = path.relative_to(root).as_posix()
                yield relative, _size(path, relative, uri, kind)


def _raise(error: OSError) -> None:
    raise error


def _size(path: Path, name: str, uri: str, kind: Kind) -> int:
    refuse_odd_name(name, uri, kind)
    try:
        about = path.stat()
    except OSError as error:
        what = "is a link to nothing" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise not_found(kind, f"{uri}: {name} {what}", "repair or remove it") from error
    if not stat.S_ISREG(about.st_mode):
        raise not_found(
            kind, f"{uri}: {name} is neither a file nor a folder, but a pipe, a socket or a device", "remove it from the folder"
        )
    return about.st_size


def refuse_odd_name(name: str, uri: str, kind: Kind) -> None:
    """Raise the error of a missing dataset or model for a file whose name no message and no JSON could hold."""
    if not name.isprintable():
        raise not_found(kind, f"{uri} holds a file whose name cannot be written as text: {name!r}", "rename it")


def _in_store(uri: str, access: Access, kind: Kind) -> StoreFolder:
    bucket, key = split_s3(uri)
    store = connect(access.storage.model_copy(update={"uri": f"s3://{bucket}"}), access.retry)
    objects = {info.key: info.size for info in store.list(key) if not info.key.endswith("/")}
    if key in objects:
        keys = {key.rpartition("/")[2]: key}
    else:
        prefix = f"{key}/" if key else ""
        keys = {name.removeprefix(prefix): name for name in sorted(objects) if name.startswith(prefix)}
    if not keys:
        raise not_found(kind, f"{uri} names no object and no prefix with objects", "check bucket, key and storage.endpoint")
    for name in keys:
        refuse_odd_name(name, uri, kind)
    return StoreFolder(uri, {name: objects[full] for name, full in keys.items()}, store, keys)
