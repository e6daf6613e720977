"""Usable pairs on disk while it is not yet known on which side each one falls."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from ser_core.data.preparing.pairs.validation import Pair
from ser_core.data.taking import MOST_CHARACTERS

_BATCH = 1000
"""Pairs, or fewer with much text."""
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("answer_1", pa.string()),
        ("answer_2", pa.string()),
        ("better", pa.int8()),
        ("source", pa.string()),
        ("weight", pa.float64()),
        ("margin", pa.float64()),
    ]
)


class PairSpool:
    """Appended to once, then read by position. Reading maps the file into memory: only what is touched is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = pa.ipc.new_file(str(path), _SCHEMA)
        self._pending: list[Pair] = []
        self._characters = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flush()
        self._writer.close()

    def append(self, pair: Pair) -> None:
        """Add a pair."""
        self._pending.append(pair)
        self._characters += len(pair.prompt) + len(pair.answer_1) + len(pair.answer_2)
        if len(self._pending) == _BATCH or self._characters >= MOST_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            columns = [pa.array([getattr(pair, name) for pair in self._pending], _SCHEMA.field(name).type) for name in _SCHEMA.names]
            self._writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
            self._pending, self._characters = [], 0


def read_spool(path: Path, positions: Sequence[int]) -> Iterator[Pair]:
    """Pairs of a finished spool, in the order of ``positions``."""
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        ends = list(accumulate(batch.num_rows for batch in batches))
        for position in positions:
            number = bisect_right(ends, position)
            row = position - ends[number] + batches[number].num_rows
            yield Pair(*(column[row].as_py() for column in batches[number].columns))
