"""The data files behind a URI: which ones are read, which ones are left out, and where each pair's ``source`` comes from."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from ser_core.api.spec.places import PlaceSpec
from ser_core.counted import counted
from ser_core.data.reading.files.readers import extension_of
from ser_core.data.reading.files.rows import DataFile
from ser_core.data.reading.hub.dataset_card import CARD, LONGEST, Subset, default_of, subsets_of
from ser_core.data.reading.locations import Access, Location, locate
from ser_core.data.reading.saved_datasets import ABOUT, stray_files
from ser_core.errors import DataError

_OTHER_SPLITS = frozenset(
    {"test", "tests", "testing", "validation", "valid", "val", "dev", "eval", "evals", "evaluation", "heldout", "holdout"}
)
_HELD_OUT = re.compile(r"(held|hold)[^a-z]out")
"""Two words that are one."""
_SPLIT_FOLDER = re.compile(r"train(?:_[a-z]+)?")
_SPLIT_NAME = re.compile(rf"{_SPLIT_FOLDER.pattern}(?=[-.])")
_ENDING = re.compile(r"(?<=.)(?:sets?|data|splits?|pairs)$")
"""Of words such as ``trainset`` and ``testdata``."""
_UNREAD = frozenset(
    {
        *(".xz", ".bz2", ".lz4", ".lzma", ".br", ".gzip", ".zstd", ".7z", ".zip", ".rar", ".tar", ".tgz"),
        *(".xls", ".xlsx", ".ods", ".orc", ".avro", ".feather", ".pkl", ".pq", ".parq", ".jl", ".jsonlines", ".ldjson"),
        *(".sqlite", ".part", ".partial", ".incomplete", ".crdownload"),
    }
)
"""Endings of files that may hold rows beside those that are read; the last are of downloads that did not end."""
_TRAINING = frozenset({"train", "training"})
_COMMIT = re.compile(r"(?P<repository>(?:.*/)?)snapshots/[0-9a-f]{40}(?=/)")
"""A folder of the hub's cache, which has one for each commit that was downloaded."""
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\..*)")
"""A name such as ``train-00000-of-00002.parquet``; numbers begin at 0."""


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
    return Source(uri, location.pinned, with_rows, chosen.left_out, tuple(_remarks(uri, location, chosen.names, empty)))


def _refuse_several_commits(uri: str, names: Sequence[str]) -> None:
    commits: dict[str, set[str]] = {}
    for found in filter(None, map(_COMMIT.match, names)):
        commits.setdefault(found["repository"], set()).add(found.group())
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


def _remarks(uri: str, location: Location, chosen: Sequence[str], empty: Sequence[str]) -> Iterator[str]:
    splits = sorted(set(filter(None, map(_split_name, chosen))))
    if len(splits) > 1:
        yield f"{uri}: the splits {', '.join(splits)} are read; data.*.split names one"
    if empty:
        yield f"{counted(len(empty), 'file')} of 0 bytes left out, for example {empty[0]}"
    others = [name for name in location.sizes if name not in chosen and not _kept_by_programs(name)]
    unread = [name for name in others if PurePosixPath(name.lower()).suffix in _UNREAD]
    if unread:
        many = f"{counted(len(unread), 'file')} of a kind that is not read left out, for example {unread[0]}"
        yield f"{many}: write rows as .jsonl, .csv or .parquet"
    gone = [] if uri.rstrip("/").endswith(f"/{chosen[0]}") else list(_missing_shards(chosen, location.sizes))
    if gone:
        many = counted(sum(number for number, _ in gone), "shard")
        yield f"{many} that the names count not there, for example {gone[0][1]}: copy the data again, if all are meant"
    if any(name.startswith("_delta_log/") or "/_delta_log/" in name for name in location.sizes):
        yield f"{uri} is a Delta table: all its files are read, also rows that its log says were deleted or replaced"


def _split_name(name: str) -> str | None:
    """The split that a file, or else its innermost such folder, is named after."""
    *folders, last = name.split("/")
    if found := _SPLIT_NAME.match(last):
        return found.group()
    return next((folder for folder in reversed(folders) if _SPLIT_FOLDER.fullmatch(folder)), None)


def _missing_shards(chosen: Iterable[str], names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Of each set of shards of which files are chosen: how many are in no folder, and the name of the first of them."""
    there = _shards(names)
    for start, total, ending in sorted(_shards(chosen)):
        numbers = there[start, total, ending]
        first = 1 if int(total) in numbers else 0
        gone = int(total) - sum(first <= number < int(total) + first for number in numbers)
        if gone:
            number = next(number for number in count(first) if number not in numbers)
            yield gone, f"{start}-{number:05d}-of-{total}{ending}"


def _shards(names: Iterable[str]) -> dict[tuple[str, str, str], set[int]]:
    """Numbers of shards, by what their names have in common."""
    found: dict[tuple[str, str, str], set[int]] = {}
    for shard in filter(None, (_SHARD.fullmatch(PurePosixPath(name).name) for name in names)):
        start, number, total, ending = shard.groups()
        found.setdefault((start, total, ending), set()).add(int(number))
    return found


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
            return _by_card(uri, tuple(filter(_is_data, names)), subsets, place)
    return _by_names(uri, names, place)


def _by_names(uri: str, names: tuple[str, ...], place: PlaceSpec | None) -> _Chosen:
    named = _named(uri, names, place)
    if place is not None and place.path in named:
        return _Chosen((place.path,))
    if place is not None and place.split is not None:
        return _Chosen(tuple(name for name in named if _is_data(name)))
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
    data = [name for name in names if _is_data(name)]
    found = [name for name in data if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", name)]
    return found or [name for name in data if re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", name)]


def _some(uri: str, names: Sequence[str], found: Sequence[str], field: str, value: str) -> tuple[str, ...]:
    if not found:
        there = _some_of(list(filter(_is_data, names)))
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
    data = sorted(filter(_is_data, names))
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


def _is_data(name: str) -> bool:
    last = PurePosixPath(name).name
    about = last in ABOUT or last.startswith(("dataset_info", "README"))
    return extension_of(name)[0] is not None and not _kept_by_programs(name) and not about


def _kept_by_programs(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
