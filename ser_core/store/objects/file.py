"""The object store on a file system that has hard links. A key is a path below the root."""

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ser_core.errors import CorruptObject, ObjectNotFound, SpecError, StoreAccessDenied, StoreError, is_disk_full
from ser_core.full_disk import naming_full_disk
from ser_core.store.objects.port import CONDITIONAL_WRITES, ObjectInfo, unwatched

_TEMPORARY = ".part-"
_TRIES = 100
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What exFAT, and what FUSE shows of a drive in a cloud, say to a hard link."""


class FileStore:
    """Objects as files below ``root``.

    Args:
        root: The folder.
        stands: The folder was there before. If it goes, every call fails (`StoreUnavailable`): a file system that is not mounted
            must not be taken for an empty store. Else the first write makes the folder.

    A write goes to a temporary file beside its target, is synced, and then linked (`create`) or renamed (`put`), so that no reader ever
    sees half an object.
    """

    def __init__(self, root: Path, *, stands: bool = False) -> None:
        self._root = root.resolve()
        self._stands = stands

    def uri(self, key: str) -> str:
        """``file://`` URI of ``key``."""
        return f"file://{self._root}/{key}"

    def key(self, uri: str) -> str:
        """Key of a URI made by `uri`."""
        prefix = f"file://{self._root}/"
        if not uri.startswith(prefix):
            raise SpecError(f"{uri!r} lies outside the store {prefix}", hint="the run's store must not be moved while it runs")
        return uri.removeprefix(prefix)

    def create(self, key: str, data: bytes) -> bool:
        """Write ``data`` unless the key exists: a hard link refuses an existing name atomically.

        Raises:
            SpecError: The file system has none (reason `StoreLacksConditionalWrites`).
        """
        target = self._path(key)
        with _explained(target), self._temporary(target) as temporary:
            _write(temporary, data)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                what = f"{target} cannot be created: its file system has no hard links ({error.strerror})"
                raise SpecError(what, reason="StoreLacksConditionalWrites", hint=CONDITIONAL_WRITES) from error
            _sync_folder(target.parent)
            return True

    def put(self, key: str, data: bytes) -> None:
        """Write ``data``, replacing what is there."""
        target = self._path(key)
        with _explained(target), self._temporary(target) as temporary:
            _write(temporary, data)
            temporary.replace(target)
            _sync_folder(target.parent)

    def get(self, key: str) -> bytes:
        """Content of ``key``."""
        target = self._object(key)
        with _explained(target):
            return target.read_bytes()

    def beginning(self, key: str, length: int) -> bytes:
        """Read the start of a file."""
        target = self._object(key)
        with _explained(target), target.open("rb") as file:
            return file.read(length)

    def age(self, key: str) -> float:
        """By the clock of the file system, as far as a file beside it can be made; else by this machine's."""
        target = self._object(key)
        with _explained(target), target.open("rb") as file:
            written = os.fstat(file.fileno()).st_mtime  # of an open file: a file system of the network asks its server
        with suppress(OSError, StoreError), self._temporary(target) as temporary:
            return max(0.0, temporary.stat().st_mtime - written)
        return max(0.0, time.time() - written)

    def upload(self, key: str, path: Path, alive: Callable[[], None] = unwatched) -> None:
        """Copy a file into the store."""
        target = self._path(key)
        with _explained(target), self._temporary(target) as temporary:
            shutil.copyfile(path, temporary)
            with temporary.open("rb+") as copied:
                os.fsync(copied.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
        alive()

    def download(self, key: str, path: Path, alive: Callable[[], None] = unwatched) -> None:
        """Copy an object out of the store."""
        source = self._object(key)
        with naming_full_disk(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        with _explained(source), naming_full_disk(path.parent):
            try:
                shutil.copyfile(source, temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        alive()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key starts with ``prefix``, in key order."""
        folder = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self._folder()
        with _explained(folder):
            files = [(path, status) for path, status in _files(folder) if not path.name.startswith(_TEMPORARY)]
        keys = ((path.relative_to(self._root).as_posix(), status) for path, status in files)
        for key, status in sorted(keys, key=lambda one: one[0]):
            if key.startswith(prefix):
                yield ObjectInfo(key, status.st_size, status.st_mtime)

    def folders(self, prefix: str) -> Iterator[str]:
        """Folders directly below ``prefix``, in the order of their names."""
        folder = self._path(prefix.rstrip("/")) if prefix else self._folder()
        with _explained(folder):
            yield from sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ()

    def abandon(self, prefix: str) -> int:
        """Remove temporary files below ``prefix``."""
        folder = self._path(prefix.rstrip("/"))
        _refuse_elsewhere(folder)
        with _explained(folder):
            found = [path for path, _ in _files(folder) if path.name.startswith(_TEMPORARY)]
            for path in found:
                path.unlink(missing_ok=True)
        return len(found)

    def delete(self, key: str) -> None:
        """Remove ``key``, and the folders that it leaves empty."""
        target = self._path(key)
        _refuse_elsewhere(target.parent)
        with _explained(target):
            target.unlink(missing_ok=True)
            for folder in target.parents:
                if folder == self._root or not _remove_if_empty(folder):
                    return

    def _folder(self) -> Path:
        """The root, for every key and prefix anew."""
        if self._stands and not self._root.is_dir():
            raise StoreError(
                f"{self._root} is gone", reason="StoreUnavailable", hint="mount the file system of storage.uri, or give the folder back"
            )
        return self._root

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") for part in parts) or "\x00" in key:
            raise SpecError(f"key {key!r} leaves the store {self._root}", hint="keys are relative, without empty, '.' or '..' parts")
        return self._folder().joinpath(*parts)

    def _object(self, key: str) -> Path:
        """Path of an object to read. Of a pipe or a device there is no end."""
        path = self._path(key)
        with _explained(path):
            mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise CorruptObject(f"{path} is a pipe or a device, and no object", hint="remove it")
        return path

    @contextmanager
    def _temporary(self, target: Path) -> Iterator[Path]:
        temporary = target.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        for tries_left in reversed(range(_TRIES)):
            self._folder()  # which mkdir would make anew
            try:
                _make_folders(target.parent)
                temporary.touch(exist_ok=False)
                break
            except FileNotFoundError as error:  # another process's delete removed the empty folder in between; or no folder can be there
                if not tries_left:
                    what = f"{target.parent} cannot be made: {error.strerror}"
                    raise StoreAccessDenied(what, hint="storage.uri must name a folder that can be written") from error
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files below a folder. What another process removes meanwhile is passed over, and so is what may not be read."""
    for place, _, names in os.walk(folder, onerror=_pass_over):
        for path in map(Path(place).joinpath, names):
            try:
                status = path.stat()
            except OSError as error:
                _pass_over(error)
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _pass_over(error: OSError) -> None:
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
        raise error


def _refuse_elsewhere(folder: Path) -> None:
    """Nothing is deleted through a link: who may write to a store could lay one to what another user has elsewhere."""
    place = Path(os.path.realpath(folder))
    if place != folder:
        raise StoreAccessDenied(
            f"{folder} is reached by a link, and lies at {place}: nothing is deleted there",
            hint="remove the link, or delete by hand what lies there",
        )


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, each entered durably: after a loss of power the file in a folder that is gone is gone too."""
    if folder.is_dir():
        return
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFound(f"{path} does not exist") from error
    except PermissionError as error:
        raise StoreAccessDenied(f"{path} may not be accessed: {error.strerror}", hint="make the folder writable") from error
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EROFS):
            raise StoreAccessDenied(f"{path}: {error.strerror}", hint="storage.uri must name a folder that can be written") from error
        full = is_disk_full(error)
        raise StoreError(
            f"{path}: {error.strerror}",
            reason="StoreFull" if full else "StoreUnavailable",
            hint="free some space" if full else "check the file system of storage.uri",
        ) from error
