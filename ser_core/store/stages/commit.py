"""The commit protocol: parts first, then one small manifest, created once. A stage is done when its manifest exists and verifies."""

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ser_core.api.stage import ManifestRef, RunIdentity
from ser_core.api.status import StageKind
from ser_core.errors import CorruptObject, ObjectNotFound, SpecError, StoreError
from ser_core.store.objects.port import ObjectStore, unwatched
from ser_core.store.stages.manifest import Manifest, OutputFile, manifest_key, stage_prefix
from ser_core.store.stages.removed import why_removed

FETCHES = 3
"""Times that a damaged object is read before it counts as corrupt; transfers are damaged more often than objects."""
_RESTORE = "restore it; if it cannot be restored, start a new run"
_WORKERS = 4
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Committed:
    """The manifest that exists now, from this attempt or another one."""

    manifest: Manifest
    ref: ManifestRef
    won: bool
    """True when it is ours."""


def upload_outputs(
    store: ObjectStore,
    run: RunIdentity,
    iteration: int,
    stage: StageKind,
    attempt: int,
    files: Mapping[str, Path],
    alive: Callable[[], None] = unwatched,
) -> dict[str, OutputFile]:
    """Upload the parts of an attempt into a folder of its own, in parallel. Returns them by output name; ``alive`` is called often, from
    any thread."""
    folder = f"{stage_prefix(run, iteration, stage)}/attempt-{attempt}-{uuid.uuid4().hex[:8]}"
    with ThreadPoolExecutor(_WORKERS) as pool:
        parts = pool.map(lambda name: upload_part(store, f"{folder}/{name}", files[name], alive), files)
        return dict(zip(files, parts, strict=True))


def upload_part(store: ObjectStore, key: str, path: Path, alive: Callable[[], None] = unwatched) -> OutputFile:
    """Upload one file; returns what a manifest says of it."""
    part = OutputFile(key=key, size=path.stat().st_size, sha256=sha256_of(path))
    store.upload(key, path, alive)
    return part


def commit(store: ObjectStore, manifest: Manifest) -> Committed:
    """Create the stage's manifest, once and for all.

    When one exists already it is read back: ours (the answer to our own write was lost) is a success, another's has won.
    """
    key = manifest_key(manifest.run, manifest.iteration, manifest.stage)
    if store.create(key, manifest.to_bytes()):
        return Committed(manifest, _ref(store, manifest), True)
    found = find_manifest(store, manifest.run, manifest.iteration, manifest.stage)
    if found is None:
        raise StoreError(f"{store.uri(key)} could neither be created nor read", reason="ManifestVanished", hint="was it deleted by hand?")
    return Committed(found[0], found[1], found[0].writer == manifest.writer)


def find_manifest(store: ObjectStore, run: RunIdentity, iteration: int, stage: StageKind) -> tuple[Manifest, ManifestRef] | None:
    """The stage's manifest, or None while the stage is not done.

    Raises:
        CorruptObject: It does not parse, or belongs to another run or stage.
    """
    key = manifest_key(run, iteration, stage)
    try:
        content = store.get(key)
    except ObjectNotFound:
        return None
    manifest = _parse(store.uri(key), content)
    if (manifest.run.uid, manifest.iteration, manifest.stage) != (run.uid, iteration, stage):
        theirs = f"{manifest.stage} {manifest.iteration} of run {manifest.run.uid}"
        raise CorruptObject(
            f"{store.uri(key)} is the manifest of {theirs}, not of {stage} {iteration} of {run.uid}",
            hint="it was copied there: remove it, and the stage runs again",
        )
    return manifest, ManifestRef(stage=stage, iteration=iteration, uri=store.uri(key), sha256=hashlib.sha256(content).hexdigest())


def read_manifest(store: ObjectStore, ref: ManifestRef) -> Manifest:
    """The manifest of an input, byte for byte the one that the planner recorded.

    Raises:
        StoreError: It has changed since (reason `InputChanged`).
    """
    content = store.get(store.key(ref.uri))
    found = hashlib.sha256(content).hexdigest()
    if found != ref.sha256:
        raise StoreError(
            f"{ref.uri} has SHA-256 {found}, but {ref.sha256} was committed",
            reason="InputChanged",
            hint="a committed stage was changed by hand: restore it, or start a new run",
        )
    return _parse(ref.uri, content)


def fetch_outputs(
    store: ObjectStore,
    manifest: Manifest,
    names: Sequence[str],
    folder: Path,
    contents: Path | None = None,
    alive: Callable[[], None] = unwatched,
) -> dict[str, Path]:
    """Local copies of some outputs, each checked against the manifest's size and SHA-256. Verified files in ``folder`` are used again.

    Args:
        store: Where they are.
        manifest: Of the stage that made or names them.
        names: Of the outputs.
        folder: For the copies, by their names.
        contents: A folder on the same disk, of files by their content: what several inputs or processes ask for, such as one base of
            two adapters, is fetched and verified once. Callers of one folder take turns. None: the files are in ``folder`` alone.
        alive: Called often, from any thread.

    Raises:
        CorruptObject: An object stayed different after `FETCHES` reads.
        SpecError: The manifest has no such output, or its name leaves ``folder``.
    """
    missing = [name for name in names if name not in manifest.outputs]
    if missing:
        raise SpecError(f"{manifest.stage} of loop {manifest.iteration} has no output {', '.join(missing)}")

    parts = {name: manifest.outputs[name] for name in names}
    return fetch_parts(store, parts, folder, contents, alive)


def fetch_parts(
    store: ObjectStore,
    parts: Mapping[str, OutputFile],
    folder: Path,
    contents: Path | None = None,
    alive: Callable[[], None] = unwatched,
) -> dict[str, Path]:
    """`fetch_outputs` of parts by their names, whatever they belong to."""
    paths = {name: folder / name for name in parts}
    for name, path in paths.items():
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SpecError(f"output name {name!r} leaves the folder {folder}")
    with ThreadPoolExecutor(_WORKERS) as pool:
        if contents is None:
            list(pool.map(lambda name: fetch_verified(store, parts[name], paths[name], alive), parts))
            return paths
        once = {part.sha256: part for part in parts.values()}
        list(pool.map(lambda part: _fetch_content(store, part, contents, alive), once.values()))
    for name, path in paths.items():
        _link(path, contents / parts[name].sha256)
    return paths


def _fetch_content(store: ObjectStore, part: OutputFile, contents: Path, alive: Callable[[], None]) -> None:
    """Put an object into a folder under its digest. One that is there was verified: it gets this name afterwards."""
    if not _SHA256.fullmatch(part.sha256):
        raise CorruptObject(f"{part.sha256!r} is no SHA-256", hint="a manifest was changed by hand: restore it, or start a new run")
    path = contents / part.sha256
    if not path.exists():
        partial = contents / f"{part.sha256}.part"
        fetch_verified(store, part, partial, alive)
        partial.replace(path)


def _link(path: Path, kept: Path) -> None:
    """Give a file the name ``path`` too. One that is there already stays, since another process may be reading it."""
    if path.exists() and path.samefile(kept):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.hardlink_to(kept)


def fetch_verified(store: ObjectStore, part: OutputFile, path: Path, alive: Callable[[], None] = unwatched) -> None:
    """Local copy of one object at ``path``, checked.

    Raises:
        CorruptObject: It stayed different after `FETCHES` reads.
        ObjectNotFound: It is gone.
        SpecError: Its run has removed it (``ModelRemoved``).
    """
    found = "nothing"
    for _ in range(FETCHES):
        if path.exists():
            size, digest = path.stat().st_size, sha256_of(path)
            if (size, digest) == (part.size, part.sha256):
                return
            found = f"{size} bytes with SHA-256 {digest}"
            path.unlink()
        try:
            store.download(part.key, path, alive)
        except ObjectNotFound as error:
            why = why_removed(store, [part.key])
            if not why:
                raise ObjectNotFound(error.message, hint=f"a manifest names it, so it was removed by hand: {_RESTORE}") from error
            raise SpecError(why, reason="ModelRemoved", hint="name its best model, or make a run with storage.retain: all") from None
    if path.exists() and (path.stat().st_size, sha256_of(path)) == (part.size, part.sha256):
        return
    path.unlink(missing_ok=True)
    raise CorruptObject(
        f"{store.uri(part.key)} is {found}; expected {part.size} bytes with SHA-256 {part.sha256}",
        hint=f"the object was damaged or replaced: {_RESTORE}",
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ref(store: ObjectStore, manifest: Manifest) -> ManifestRef:
    key = manifest_key(manifest.run, manifest.iteration, manifest.stage)
    return ManifestRef(stage=manifest.stage, iteration=manifest.iteration, uri=store.uri(key), sha256=manifest.digest())


def _parse(uri: str, content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise CorruptObject(
            f"{uri} is no manifest: {error.errors()[0]['msg']}", hint=f"it was changed by hand or written by another version: {_RESTORE}"
        ) from error
