"""What a run's next seed needs: pairs that a person labels, beside the run's own seed, its pool and its held-out pairs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ser_core.api.spec.data import FOUND_IN_PROMPTS
from ser_core.api.stage import PrepareMetrics
from ser_core.api.status import StageKind
from ser_core.counted import counted
from ser_core.data.preparing.pairs.written import written
from ser_core.data.preparing.too_few import MIN_PAIRS
from ser_core.data.reading.labels import TIE
from ser_core.data.tables import PairGroup, read_table
from ser_core.errors import SpecError
from ser_core.learn.trust.confident import accord
from ser_core.learn.trust.selection import Floats
from ser_core.learn.trust.suggestion import most_useful, spread, usefulness
from ser_core.loop.deciding.stages import StageKey
from ser_core.report.copies import Copies
from ser_core.report.ledger import Ledger, StageRecord

SEED, TO_LABEL, LABELED, TIES = "seed", "to-label.jsonl", "labeled.jsonl", "ties.jsonl"
UNLABELED, HELDOUT = "unlabeled.jsonl", "heldout.jsonl"
GROUP = "group"
"""Column of the files that holds pairs of one group together, where the prompts do not tell it."""
_READ = ("id", "confidence", "score_1", "score_2")


@dataclass(frozen=True, slots=True)
class NextSeed:
    """Numbers of the pairs that were written."""

    to_label: int
    seed: int
    """Ties with them."""
    unlabeled: int
    heldout: int
    dropped: tuple[str, ...]
    """What the run's own labels had and the files do not have: weights, margins."""
    split_by: str
    """`splitBy` of the new run: that of the run, or `GROUP` in place of its column; `prompt` where the groups of the pool are not known."""


def write_next_seed(copies: Copies, ledger: Ledger, wanted: int, folder: Path) -> NextSeed:
    """Write the files of the next run's data below ``folder``.

    `seed/to-label.jsonl` has the pairs to label, with ``better`` empty, and says nothing of what the models prefer; `seed/labeled.jsonl`
    has the run's own labels, `seed/ties.jsonl` its ties, `unlabeled.jsonl` the pool without labels, `heldout.jsonl` the held-out pairs.
    Where `splitBy` is a column, each pair has its group in `GROUP`.
    Pairs to label stay in the pool until they have a label: `prepare` takes out of it what the seed holds.

    Args:
        copies: Of what the stages have made.
        ledger: The run's committed stages.
        wanted: Pairs to label; fewer where the last loop has labelled fewer.
        folder: A new folder.

    Raises:
        SpecError: No loop has labelled the pool yet (``NoLabels``), or too few pairs of it would be left (``PoolTooSmall``).
        StoreError: Something cannot be read, or differs from its manifest.
        OSError: ``folder`` cannot be written.
    """
    prepared = ledger.prepared
    if prepared is None or not ledger.filters:
        what = f"run {ledger.run.metadata.name} has labelled no pair of its pool yet: it is {ledger.run.status.phase}"
        raise SpecError(what, reason="NoLabels", hint=ledger.next_step or None)
    ties = [name for name in ("ties.parquet",) if name in prepared.manifest.outputs]
    parts = copies.all_of(prepared, ["seed.parquet", "dev.parquet", "heldout.parquet", "pool.parquet", *ties])
    by = ledger.run.spec.data.group_by
    groups = {} if by in FOUND_IN_PROMPTS else _groups(copies, prepared)
    chosen = _chosen(copies, ledger, wanted, parts["pool.parquet"])
    pairs = pq.read_metadata(parts["pool.parquet"]).num_rows
    if pairs - len(chosen) < MIN_PAIRS:
        what = f"{len(chosen)} of the {counted(pairs, 'pair')} of the pool would be labelled, and a run needs {MIN_PAIRS} for self-labels"
        raise SpecError(what, reason="PoolTooSmall", hint="name fewer --pairs")
    (folder / SEED).mkdir(parents=True)
    rows = {name: _grouped(_rows(file), groups) for name, file in parts.items()}
    known = map(_labeled, chain(rows["seed.parquet"], rows["dev.parquet"]))
    return NextSeed(
        to_label=_write(folder / SEED / TO_LABEL, (_open(row) | {"better": ""} for row in _grouped(chosen, groups))),
        seed=_write(folder / SEED / LABELED, known) + sum(_write(folder / SEED / TIES, map(_tied, rows[name])) for name in ties),
        unlabeled=_write(folder / UNLABELED, map(_open, rows["pool.parquet"])),
        heldout=_write(folder / HELDOUT, map(_labeled, rows["heldout.parquet"])),
        dropped=tuple(name for name in ("weights", "margins") if f"{name}.parquet" in prepared.manifest.outputs),
        split_by=by if by in FOUND_IN_PROMPTS else GROUP if groups else "prompt",
    )


def _chosen(copies: Copies, ledger: Ledger, wanted: int, pool: Path) -> list[dict[str, Any]]:
    """The pairs of the pool to label, the most useful first."""
    last = ledger.filters[-1]
    decisions = pq.read_table(copies.of(last, "decisions.parquet"), columns=[*_READ])
    identifiers, confidence, score_1, score_2 = (decisions[name] for name in _READ)
    agreement = _agreement(copies, ledger, last.key.iteration, identifiers)
    useful = usefulness(confidence.to_numpy(), agreement, apart=score_1.to_numpy() != score_2.to_numpy())
    places = most_useful(useful, wanted)
    names = identifiers.take(places).to_pylist()
    texts = {row["id"]: row for row in pq.read_table(pool, filters=[("id", "in", names)]).to_pylist()} if names else {}
    order = spread(useful[places], [texts[name]["prompt"] for name in names], wanted)
    return [texts[names[place]] for place in order]


def _groups(copies: Copies, prepared: StageRecord[PrepareMetrics]) -> dict[str, str]:
    """Group of each pair; empty where an earlier version has prepared the data, which stored none of the pool."""
    names = ("groups.parquet", "pool_groups.parquet")
    if not prepared.manifest.outputs.keys() >= {*names}:
        return {}
    return {one.id: one.group for file in copies.all_of(prepared, names).values() for one in read_table(file, PairGroup)}


def _agreement(copies: Copies, ledger: Ledger, iteration: int, names: pa.ChunkedArray) -> Floats | None:
    """(pairs,) how far the fold models agree on each of the pairs; None where the run has none."""
    label = ledger.stages[StageKey(iteration, StageKind.LABEL)]
    if "fold_labels.parquet" not in label.manifest.outputs:
        return None
    rows = pq.read_table(copies.of(label, "fold_labels.parquet"))
    places = pc.index_in(rows["id"], value_set=names.combine_chunks()).to_numpy()
    folds = rows["fold"].to_numpy()
    margins = np.zeros((int(folds.max(initial=-1)) + 1, len(names)))
    margins[folds, places] = rows["score_1"].to_numpy() - rows["score_2"].to_numpy()
    return accord(margins)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for batch in pq.ParquetFile(file).iter_batches():
        yield from batch.to_pylist()


def _grouped(rows: Iterable[dict[str, Any]], groups: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    return (row | {GROUP: groups[row["id"]]} for row in rows) if groups else iter(rows)


def _open(row: Mapping[str, Any]) -> dict[str, Any]:
    return _row(row, "answer_1", "answer_2") | {"source": row["source"]}


def _labeled(row: Mapping[str, Any]) -> dict[str, Any]:
    return _row(row, "chosen", "rejected") | {"source": row["source"]}


def _tied(row: Mapping[str, Any]) -> dict[str, Any]:
    return _row(row, "answer_1", "answer_2") | {"better": TIE}


def _row(row: Mapping[str, Any], *answers: str) -> dict[str, Any]:
    return written(row["prompt"], {name: row[name] for name in answers}) | {name: row[name] for name in (GROUP,) if name in row}


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as lines:
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
