"""What a user should know about how the files of a source were chosen."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count
from pathlib import PurePosixPath

from ser_core.counted import counted
from ser_core.data.reading.data_files import kept_by_programs

_SPLIT_FOLDER = re.compile(r"train(?:_[a-z]+)?")
_SPLIT_NAME = re.compile(rf"{_SPLIT_FOLDER.pattern}(?=[-.])")
_UNREAD = frozenset(
    {
        *(".xz", ".bz2", ".lz4", ".lzma", ".br", ".gzip", ".zstd", ".7z", ".zip", ".rar", ".tar", ".tgz"),
        *(".xls", ".xlsx", ".ods", ".orc", ".avro", ".feather", ".pkl", ".pq", ".parq", ".jl", ".jsonlines", ".ldjson"),
        *(".sqlite", ".part", ".partial", ".incomplete", ".crdownload"),
    }
)
"""Endings of files that may hold rows beside those that are read; the last are of downloads that did not end."""
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\..*)")
"""A name such as ``train-00000-of-00002.parquet``; numbers begin at 0."""


def remarks(uri: str, names: Collection[str], chosen: Sequence[str], empty: Sequence[str]) -> Iterator[str]:
    """What is told.

    Args:
        uri: Of the data.
        names: All files that are there.
        chosen: Those that are read.
        empty: Those of these that have no bytes.
    """
    splits = sorted(set(filter(None, map(_split_name, chosen))))
    if len(splits) > 1:
        yield f"{uri}: the splits {', '.join(splits)} are read; data.*.split names one"
    if empty:
        yield f"{counted(len(empty), 'file')} of 0 bytes left out, for example {empty[0]}"
    read = frozenset(chosen)
    others = [name for name in names if name not in read and not kept_by_programs(name)]
    unread = [name for name in others if PurePosixPath(name.lower()).suffix in _UNREAD]
    if unread:
        many = f"{counted(len(unread), 'file')} of a kind that is not read left out, for example {unread[0]}"
        yield f"{many}: write rows as .jsonl, .csv or .parquet"
    gone = [] if uri.rstrip("/").endswith(f"/{chosen[0]}") else list(_missing_shards(chosen, names))
    if gone:
        many = counted(sum(number for number, _ in gone), "shard")
        yield f"{many} that the names count not there, for example {gone[0][1]}: copy the data again, if all are meant"
    if any(name.startswith("_delta_log/") or "/_delta_log/" in name for name in names):
        yield f"{uri} is a Delta table: all its files are read, also rows that its log says were deleted or replaced"


def _split_name(name: str) -> str | None:
    """The split that a file, or else its innermost such folder, is named after; ``train`` alone is said by many names."""
    *folders, last = name.split("/")
    found = [*filter(None, [_SPLIT_NAME.match(last)]), *filter(None, map(_SPLIT_FOLDER.fullmatch, reversed(folders)))]
    names = [one.group() for one in found]
    return next((one for one in names if one != "train"), names[0] if names else None)


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
