"""The data files behind a URI: which ones are read, which ones are left out, and where each pair's ``source`` comes from."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ser_core.data.reading.locations import Access, Location, locate
from ser_core.data.reading.readers import extension_of
from ser_core.data.reading.rows import DataFile
from ser_core.errors import DataError

_OTHER_SPLITS = frozenset({"test", "tests", "validation", "valid", "val", "dev", "eval", "evaluation", "heldout", "holdout", "testing"})
_TRAINING = frozenset({"train", "training"})


@dataclass(frozen=True, slots=True)
class Source:
    """Data files on this machine, ready to be read."""

    uri: str
    pinned: str
    """The URI with the hub's revision resolved to a commit."""
    files: tuple[DataFile, ...]
    left_out: tuple[str, ...]
    """Names of data files that belong to another split than ``train``."""

    def name_of(self, file: str) -> str:
        """Source of a pair that names none: the file's folder where files lie in several, else the last part of the URI."""
        folders = {str(PurePosixPath(each.name).parent) for each in self.files}
        if len(folders) > 1:
            return str(PurePosixPath(file).parent)
        return re.sub(r"(\.(jsonl|ndjson|json|csv|parquet|gz|zst))+$", "", self.uri.partition("@")[0].rstrip("/").rpartition("/")[2])


def open_source(uri: str, access: Access, folder: Path, alive: Callable[[], None]) -> Source:
    """Find and, where they are not on this machine, download the data files under ``uri``.

    Args:
        uri: A file, a folder of shards, an S3 object or prefix, a dataset on the hub.
        access: Endpoints.
        folder: Where downloads go.
        alive: Called after every file.

    Raises:
        DataError: ``DataNotFound`` or ``DataEmpty``; with the URI.
        StoreError: Store or hub cannot be reached.
    """
    location = locate(uri, access, "dataset")
    chosen, left_out = _one_file_or_shards(uri, location)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in chosen:
        if location.sizes[name] == 0:
            raise DataError(f"{uri}: {name} has 0 bytes", reason="DataEmpty", hint="check that the upload or export was complete")
        files.append(DataFile(name, location.fetch(name, folder)))
        alive()
    return Source(uri, location.pinned, tuple(files), left_out)


def _one_file_or_shards(uri: str, location: Location) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = tuple(location.sizes)
    if len(names) == 1 and uri.rstrip("/").endswith(f"/{names[0]}"):
        return names, ()
    if {PurePosixPath(name).name for name in names} & {"state.json", "dataset_dict.json"} and any(
        name.endswith(".arrow") for name in names
    ):
        raise DataError(
            f"{uri} was written by save_to_disk of datasets, as Arrow files",
            reason="UnknownFormat",
            hint="write the split as parquet: datasets.load_from_disk(...).to_parquet('pairs.parquet')",
        )
    chosen, left_out = choose_train_files(names)
    if not chosen:
        what = (
            f"only other splits than train: {', '.join(left_out[:5])}"
            if left_out
            else f"no data files{', only ' if names else ''}{', '.join(names[:5])}"
        )
        raise DataError(
            f"{uri} holds {what}", reason="DataNotFound", hint="name one file, or a folder with .jsonl, .json, .csv or .parquet files"
        )
    return chosen, left_out


def choose_train_files(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Data files of the split ``train``, and those left out.

    Where no name has ``train`` or ``training`` among its words, all files count but those with a word such as ``test`` or ``validation``.
    """
    data = sorted(
        name for name in names if extension_of(name)[0] is not None and not PurePosixPath(name).name.startswith(("dataset_info", "README"))
    )
    words = {name: set(re.split(r"[^a-z]+", name.lower())) for name in data}
    train = [name for name in data if words[name] & _TRAINING]
    chosen = train or [name for name in data if not words[name] & _OTHER_SPLITS]
    return tuple(chosen), tuple(name for name in data if name not in chosen)
