"""Writing the sides of prepared data as the tables that later stages read. Labels of the pool go into a table of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_core.data.preparing.pairs.spool import read_spool
from ser_core.data.preparing.pairs.validation import Pair
from ser_core.data.preparing.preparation import Prepared
from ser_core.data.preparing.splitting import coin
from ser_core.data.tables import HiddenLabel, LabeledPair, PairGroup, PairMargin, PairWeight, PoolPair, TiedPair, write_table


def write_sides(prepared: Prepared, seed: int, folder: Path) -> dict[str, Path]:
    """Write ``seed``, ``dev``, ``heldout`` and ``pool`` as parquet, ``groups`` of the labelled pairs, and where there are any: ``ties`` of
    seed and dev, ``pool_labels``, ``pool_groups``, weights and margins.

    Rows are in the order of their ids. Memory holds one row group at a time.

    Returns:
        Paths by output name.
    """
    names = ["seed.parquet", "dev.parquet", "heldout.parquet", "pool.parquet"]
    files = {name: folder / name for name in names}
    for side in ("seed", "dev", "heldout"):
        write_table(files[f"{side}.parquet"], LabeledPair, map(_labeled, read_spool(prepared.spool, prepared.sides[side])))
    pool = prepared.sides["pool"]
    write_table(files["pool.parquet"], PoolPair, (_hidden(pair, seed) for pair in read_spool(prepared.spool, pool)))
    files["groups.parquet"] = folder / "groups.parquet"
    write_table(files["groups.parquet"], PairGroup, (PairGroup(*one) for one in sorted(prepared.groups.items())))
    if prepared.pool_groups:
        files["pool_groups.parquet"] = folder / "pool_groups.parquet"
        write_table(files["pool_groups.parquet"], PairGroup, (PairGroup(*one) for one in sorted(prepared.pool_groups.items())))
    if prepared.metrics.hidden_labels:
        files["pool_labels.parquet"] = folder / "pool_labels.parquet"
        write_table(files["pool_labels.parquet"], HiddenLabel, _labels(prepared.spool, pool, seed))
    if any(prepared.ties.values()):
        files["ties.parquet"] = folder / "ties.parquet"
        write_table(files["ties.parquet"], TiedPair, _ties(prepared))
    learnt = [position for side in ("seed", "dev") for position in (*prepared.sides[side], *prepared.ties[side])]
    return files | _write_strengths(prepared.spool, learnt, folder) | _write_strengths(prepared.spool, pool, folder, "pool_")


def _write_strengths(spool: Path, positions: Sequence[int], folder: Path, prefix: str = "") -> dict[str, Path]:
    weights, margins = dict[str, float](), dict[str, float]()
    for pair in read_spool(spool, positions):
        weights |= {} if pair.weight is None else {pair.id: pair.weight}
        margins |= {} if pair.margin is None else {pair.id: pair.margin}
    files = {}
    for name, kind, found in ((f"{prefix}weights.parquet", PairWeight, weights), (f"{prefix}margins.parquet", PairMargin, margins)):
        if found:
            files[name] = folder / name
            write_table(files[name], kind, (kind(*one) for one in sorted(found.items())))
    return files


def _ties(prepared: Prepared) -> Iterator[TiedPair]:
    for side in ("seed", "dev"):
        for pair in read_spool(prepared.spool, prepared.ties[side]):
            yield TiedPair(pair.id, pair.prompt, pair.answer_1, pair.answer_2, side)


def _labeled(pair: Pair) -> LabeledPair:
    chosen, rejected = (pair.answer_1, pair.answer_2) if pair.better == 1 else (pair.answer_2, pair.answer_1)
    return LabeledPair(pair.id, pair.prompt, chosen, rejected, pair.source)


def _hidden(pair: Pair, seed: int) -> PoolPair:
    first, second = (pair.answer_2, pair.answer_1) if coin(seed, pair.id) else (pair.answer_1, pair.answer_2)
    return PoolPair(pair.id, pair.prompt, first, second, pair.source)


def _labels(spool: Path, pool: Sequence[int], seed: int) -> Iterator[HiddenLabel]:
    for pair in read_spool(spool, pool):
        if pair.better:
            yield HiddenLabel(pair.id, 3 - pair.better if coin(seed, pair.id) else pair.better)
