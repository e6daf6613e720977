"""The data files behind a URI: which ones are read, which ones are left out, and where each pair's ``source`` comes from."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ser_core.api.spec.places import PlaceSpec
from ser_core.counted import counted
from ser_core.data.reading.data_files import is_data
from ser_core.data.reading.files.rows import DataFile
from ser_core.data.reading.hub.dataset_card import CARD, LONGEST, Subset, default_of, subsets_of
from ser_core.data.reading.locations import Access, Location, locate
from ser_core.data.reading.saved_datasets import stray_files
from ser_core.data.reading.source_remarks import remarks
from ser_core.errors import DataError

_OTHER_SPLITS = frozenset(
    {"test", "tests", "testing", "validation", "valid", "val", "dev", "eval", "evals", "evaluation", "heldout", "holdout"}
)
_HELD_OUT = re.compile(r"(held|hold)[^a-z]out")
"""Two words that are one."""
_ENDING = re.compile(r"(?<=.)(?:sets?|data|splits?|pairs)$")
"""Of words such as ``trainset`` and ``testdata``."""
_TRAINING = frozenset({"train", "training"})
_COMMIT = re.compile(r"(?P<repository>(?:.*/)?)snapshots/[0-9a-f]{40}(?=/)")
"""A folder of the hub's cache, which has one for each commit that was downloaded."""


@dataclass(frozen=True, slots=True)
class Source:
    """Data files on this machine, ready to be read."""

    uri: str
    pinned: str
    """The URI with the hub's revision resolved to a commit."""
    files: tuple[DataFile, ...]
    left_out: tuple[str, ...]
    """Names of data files that belong to another split than ``train``."""
    remarks: tuple[str, ...] = ()
    """What a user should know about how the files were chosen."""

    def names(self) -> dict[str, str]:
        """By file, the source of its pairs that name none: its subfolder where files lie in several, else the URI's last part."""
        folders = {file.name: file.name.rpartition("/")[0] for file in self.files}
        several, own = len(set(folders.values())) > 1, self._own_name()
        return {name: (several and folder) or own for name, folder in folders.items()}

    def _own_name(self) -> str:
        return re.sub(r"(\.(jsonl|ndjson|json|csv|parquet|arrow|gz|zst))+$", "", self.uri.partition("@")[0].rstrip("/").rpartition("/")[2])


def open_source(uri: str, access: Access, folder: Path, alive: Callable[[], None], place: PlaceSpec | None = None) -> Source:
    """Find and, where they are not on this machine, download the data files under ``uri``.

    Args:
        uri: A file, a folder of shards, an S3 object or prefix, a dataset on the hub.
        access: Endpoints.
        folder: Where downloads go.
        alive: Called after every file.
        place: Which of its files are meant (`path`, `subset`, `split`).

    Raises:
        DataError: ``DataNotFound`` or ``DataEmpty``; with the URI.
        StoreError: Store or hub cannot be reached.
    """
    location = locate(uri, access, "dataset")
    chosen = _one_file_or_shards(uri, location, place)
    _refuse_several_commits(uri, chosen.names)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in chosen.names:
        files.append(DataFile(name, location.fetch(name, folder)))
        alive()
    empty = [file.name for file in files if _size(uri, file) == 0]
    if len(empty) == len(files):
        raise DataError(f"{uri}: {empty[0]} has 0 bytes", reason="DataEmpty", hint="check that the upload or export was complete")
    with_rows = tuple(file for file in files if file.name not in empty)
    return Source(uri, location.pinned, with_rows, chosen.left_out, tuple(remarks(uri, location.sizes, chosen.names, empty)))


def _refuse_several_commits(uri: str, names: Sequence[str]) -> None:
    commits: dict[str, set[str]] = {}
    within = "snapshots/" if uri.rstrip("/").endswith("/snapshots") else ""
    for found in filter(None, (_COMMIT.match(f"{within}{name}") for name in names)):
        commits.setdefault(found["repository"], set()).add(found.group().removeprefix(within))
    several = next((sorted(each) for each in commits.values() if len(each) > 1), None)
    if several is not None:
        raise DataError(
            f"{uri} holds {len(several)} commits of one dataset, as the hub's cache keeps them: {', '.join(several[:5])}",
            reason="DataNotFound",
            hint="name one of these folders in data.*.path",
        )


def _size(uri: str, file: DataFile) -> int:
    try:
        with file.path.open("rb") as stream:
            return os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise DataError(
            f"{uri}: {file.name} cannot be read: {error.strerror}", reason="DataNotFound", hint="check its permissions"
        ) from error


@dataclass(frozen=True, slots=True)
class _Chosen:
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def _one_file_or_shards(uri: str, location: Location, place: PlaceSpec | None) -> _Chosen:
    names = tuple(location.sizes)
    if len(names) == 1 and uri.rstrip("/").endswith(f"/{names[0]}"):
        return _Chosen(_named(uri, names, place))
    stray = stray_files(location, names)
    names = tuple(name for name in names if name not in stray)
    if (place is None or place.path is None) and CARD in names:
        subsets = subsets_of(location.beginning(CARD, LONGEST))
        if subsets:
            return _by_card(uri, tuple(filter(is_data, names)), subsets, place)
    return _by_names(uri, names, place)


def _by_names(uri: str, names: tuple[str, ...], place: PlaceSpec | None) -> _Chosen:
    named = _named(uri, names, place)
    if place is not None and place.path in named:
        return _Chosen((place.path,))
    if place is not None and place.split is not None:
        return _Chosen(tuple(name for name in named if is_data(name)))
    chosen, left_out = choose_train_files(named)
    if not chosen:
        what = (
            f"only other splits than train: {', '.join(left_out[:5])}"
            if left_out
            else f"no data files{', only ' if names else ''}{', '.join(names[:5])}"
        )
        hint = "name one in data.*.split" if left_out else "name one file, or a folder with .jsonl, .json, .csv or .parquet files"
        raise DataError(f"{uri} holds {what}", reason="DataNotFound", hint=hint)
    return _Chosen(chosen, left_out)


def _by_card(uri: str, names: tuple[str, ...], subsets: tuple[Subset, ...], place: PlaceSpec | None) -> _Chosen:
    """The files of the subset and split that are meant, as the dataset's card names them."""
    subset, split = (None, None) if place is None else (place.subset, place.split)
    one = next((one for one in subsets if one.name == subset), None) if subset else default_of(subsets)
    if one is None:
        raise _not_in_card(uri, "subset", subset or "default", [one.name for one in subsets])
    within = one.files(names)
    if not one.splits:
        return _by_names(uri, tuple(within), None if place is None else place.model_copy(update={"subset": None}))
    wanted = {split} if split else set(_of_training(list(one.splits)))
    if not wanted or not wanted <= one.splits.keys():
        raise _not_in_card(uri, "split", split or "train", list(one.splits))
    found = {name for each in wanted for name in one.files(names, each)}
    if not found:
        raise DataError(
            f"{uri}: no file is as its card names those of the split {', '.join(sorted(wanted))}, but {_some_of(names)}",
            reason="DataNotFound",
            hint="name one file or folder in data.*.path: then the card is not used",
        )
    return _Chosen(tuple(name for name in names if name in found), () if split else tuple(name for name in within if name not in found))


def _not_in_card(uri: str, field: str, value: str, there: Sequence[str]) -> DataError:
    return DataError(
        f"{uri} has no {field} {value!r}; its card names {', '.join(there[:20])}", reason="DataNotFound", hint=f"name one in data.*.{field}"
    )


def _some_of(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:5]) or "no data files"


def _named(uri: str, names: tuple[str, ...], place: PlaceSpec | None) -> tuple[str, ...]:
    """The files that `path`, `subset` and `split` mean; all where they are left out."""
    if place is None:
        return names
    if place.path is not None:
        folder = f"{place.path.strip('/')}/"
        names = _some(uri, names, [name for name in names if name == place.path or name.startswith(folder)], "path", place.path)
    for field, word in (("subset", place.subset), ("split", place.split)):
        if word is not None:
            names = _some(uri, names, _with_word(names, word), field, word)
    return names


def _with_word(names: Sequence[str], word: str) -> list[str]:
    """Data files with a word in their path; an underscore belongs to the word, unless that leaves none."""
    data = [name for name in names if is_data(name)]
    found = [name for name in data if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", name)]
    return found or [name for name in data if re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", name)]


def _some(uri: str, names: Sequence[str], found: Sequence[str], field: str, value: str) -> tuple[str, ...]:
    if not found:
        there = _some_of(list(filter(is_data, names)))
        raise DataError(
            f"{uri} has no file of the {field} {value!r}, but {there}",
            reason="DataNotFound",
            hint=f"correct data.*.{field}, or leave it out",
        )
    return tuple(found)


def other_splits(left_out: Sequence[str]) -> list[str]:
    """What is said of the files of other splits."""
    return [f"{counted(len(left_out), 'file')} of other splits left out, for example {left_out[0]}"] if left_out else []


def choose_train_files(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Data files of the split ``train``, and those left out.

    Where no name has ``train`` or ``training`` among its words, all files count but those with a word such as ``test`` or ``validation``.
    Of a path the innermost part with such a word counts.
    Files that programs keep for themselves never count: those whose name, or folder's name, begins with a dot or an underscore.
    """
    data = sorted(filter(is_data, names))
    chosen = set(_of_training(data))
    return tuple(name for name in data if name in chosen), tuple(name for name in data if name not in chosen)


def _of_training(names: Sequence[str]) -> list[str]:
    """Names of training; where there is none, all but those of another split."""
    splits = {name: _split_of(name) for name in names}
    return [name for name in names if splits[name] is _TRAINING] or [name for name in names if splits[name] is not _OTHER_SPLITS]


def _split_of(name: str) -> frozenset[str] | None:
    """The words of which the innermost part of a path has one, such as ``test`` in ``training_data/test.jsonl``; None: no part has any."""
    for part in reversed(PurePosixPath(_HELD_OUT.sub(r"\1out", name.lower())).parts):
        words = {_ENDING.sub("", word) for word in re.split(r"[^a-z]+", part)}
        if found := next((split for split in (_TRAINING, _OTHER_SPLITS) if words & split), None):
            return found
    return None
