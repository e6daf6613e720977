"""Usable pairs on disk while it is not yet known on which side each one falls."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from ser_core.data.preparing.validation import Pair

_BATCH = 1000
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flush()
        self._writer.close()

    def append(self, pair: Pair) -> None:
        """Add a pair."""
        self._pending.append(pair)
        if len(self._pending) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            columns = [pa.array([getattr(pair, name) for pair in self._pending], _SCHEMA.field(name).type) for name in _SCHEMA.names]
            self._writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
            self._pending = []


def read_spool(path: Path, positions: Sequence[int]) -> Iterator[Pair]:
    """Pairs of a finished spool, in the order of ``positions``."""
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        for position in positions:
            batch, row = batches[position // _BATCH], position % _BATCH
            yield Pair(*(column[row].as_py() for column in batch.columns))
