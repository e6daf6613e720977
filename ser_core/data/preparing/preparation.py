"""From a DataSpec to the four sides: seed, dev, pool, held-out. `prepare` writes them, `ser validate` only reports them."""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_core.api.spec.data import FOUND_IN_PROMPTS, Columns, DataSpec, FileSpec
from ser_core.api.stage import PrepareMetrics
from ser_core.counted import counted
from ser_core.data.preparing.groups import group_of, groups_of_part, known_groups, named_by_labels, shared_groups
from ser_core.data.preparing.pairs.concerns import text_warnings
from ser_core.data.preparing.pairs.corpus import Corpus, PartReader, beginning_at
from ser_core.data.preparing.pairs.parts import of_part, open_part
from ser_core.data.preparing.pairs.spool import PairSpool, read_spool
from ser_core.data.preparing.pairs.text import shown
from ser_core.data.preparing.pairs.validation import Entry, Pair, drop_repeats
from ser_core.data.preparing.split_warnings import shared_with_heldout, split_warnings
from ser_core.data.preparing.splitting import Group, assign, connected_groups
from ser_core.data.preparing.too_few import MIN_PAIRS, file_of, too_few
from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.data.reading.files.rows import BadRow
from ser_core.data.reading.locations import Access
from ser_core.data.reading.sources import Source, other_splits
from ser_core.errors import DataError
from ser_core.store.stages.commit import sha256_of

SAMPLE_PAIRS = 200
"""Most pairs that `ser validate` looks at as a model reads them."""

Progress = Callable[[int, int], None]
"""Told the bytes read so far and in all."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data of a run, validated and split."""

    spool: Path
    sides: Mapping[str, Sequence[int]]
    """Positions in the spool by side (seed, dev, pool, heldout), in the order of the pairs' ids; ties only in the pool."""
    ties: Mapping[str, Sequence[int]]
    """The same of the ties of seed, dev and held-out part; in the pool they are pairs without a label."""
    groups: Mapping[str, str]
    """Group of each labelled pair, and of each pool pair in the group of such a one, by id (`ser_core.data.tables.PairGroup`)."""
    pool_groups: Mapping[str, str]
    """The same of all pool pairs, where their prompts do not tell it."""
    metrics: PrepareMetrics
    provenance: Mapping[str, Any]
    """What was read, by part: URI, commit, files with SHA-256, rows, drops."""
    heldout_groups: int
    """Groups that the held-out pairs are in."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `prepare` would make of the data."""

    metrics: PrepareMetrics
    sample: tuple[Pair, ...]
    """Some pairs of all sides, evenly chosen."""
    ties: Mapping[str, int]
    """Ties by side that are learnt: those of seed and dev."""
    heldout_groups: int
    """Groups that the held-out pairs are in."""


def inspect(data: DataSpec, seed: int, access: Access, *, turns: bool) -> Inspection:
    """What `prepare` would find and make of ``data``; writes nothing that stays.

    Raises:
        DataError, SpecError, StoreError: As `prepare` would.
    """
    with tempfile.TemporaryDirectory(prefix="ser-inspect-") as folder:
        prepared = prepare_data(data, seed, access, Path(folder), lambda *_: None, turns=turns)
        positions = sorted(position for side in prepared.sides.values() for position in side)
        size = min(len(positions), SAMPLE_PAIRS)
        chosen = [positions[place * len(positions) // size] for place in range(size)]
        ties = {side: len(prepared.ties[side]) for side in ("seed", "dev")}
        return Inspection(prepared.metrics, tuple(read_spool(prepared.spool, chosen)), ties, prepared.heldout_groups)


def prepare_data(data: DataSpec, seed: int, access: Access, folder: Path, progress: Progress, *, turns: bool) -> Prepared:
    """Read, validate and split.

    Args:
        data: What to read and how to split it.
        seed: Seed of the split (data.splitSeed).
        access: How stores and the hub are reached.
        folder: For downloads and the spool.
        progress: Called often.
        turns: Whether prompts keep the marks of their turns, as a chat template needs them.

    Raises:
        DataError: The data cannot be used; the reason says why.
        SpecError: The hub refuses access.
        StoreError: Store or hub cannot be reached.
    """
    given = _given(data)
    sources = {
        part: open_part(f"data.{part}", spec, access, folder / "downloads" / part, lambda: progress(0, 1)) for part, spec in given.items()
    }
    spool_path = folder / "pairs.arrow"
    with PairSpool(spool_path) as spool:
        corpus = Corpus(spool, turns)
        _read_all(sources, {part: spec.columns for part, spec in given.items()}, data.group_by, data.max_dropped_fraction, corpus, progress)
    if data.source is None:
        _refuse_leakage(corpus.entries, spool_path)
    kept = drop_repeats(corpus.entries, corpus.tallies)
    for tally in corpus.tallies.values():
        tally.check(data.max_dropped_fraction)
    entries = [corpus.entries[position] for position in kept]
    groups = connected_groups([entry.id for entry in entries], _shared_values(corpus.entries, kept))
    if data.source is None:
        groups = named_by_labels(groups, entries)
    sides = _sides(data, seed, entries, groups, {part: tally.dropped for part, tally in corpus.tallies.items()})
    every = {side: _sorted_positions(chosen, entries, kept) for side, chosen in sides.items()}
    positions = {side: [one for one in found if side == "pool" or not corpus.entries[one].is_tie] for side, found in every.items()}
    ties = {side: [one for one in found if side != "pool" and corpus.entries[one].is_tie] for side, found in every.items()}
    for position in ties["heldout"]:
        tied = corpus.entries[position]
        corpus.tallies[tied.part].drop(BadRow(tied.file, tied.line, "Tie", "none of the two answers is better, and it is held out"))
    metrics = _metrics(corpus, positions, ties, groups, shared_groups(groups, entries), data.group_by, sources)
    pool_groups = {} if data.group_by in FOUND_IN_PROMPTS else group_of(sides["pool"], entries)
    provenance = _provenance(sources, corpus)
    return Prepared(spool_path, positions, ties, known_groups(sides, entries), pool_groups, metrics, provenance, len(sides["heldout"]))


def _given(data: DataSpec) -> dict[str, FileSpec]:
    given: dict[str, FileSpec | None] = {"source": data.source, "seed": data.seed, "unlabeled": data.unlabeled, "heldout": data.heldout}
    return {part: spec for part, spec in given.items() if spec is not None}


def _read_all(
    sources: Mapping[str, Source],
    columns: Mapping[str, Columns | None],
    split_by: str,
    max_dropped_fraction: float,
    corpus: Corpus,
    progress: Progress,
) -> None:
    sizes = {part: sum(file.path.stat().st_size for file in source.files) for part, source in sources.items()}
    total, done = sum(sizes.values()), 0
    for part, source in sources.items():
        reader = PartReader(part, source, columns[part], split_by, corpus)
        reader.read(max_dropped_fraction, beginning_at(done, lambda read: progress(read, total)))
        done += sizes[part]


def _shared_values(entries: Sequence[Entry], kept: Sequence[int]) -> list[tuple[bytes, ...]]:
    """What connects each kept pair with others: its prompt, and the groups of all its rows, also of those that are dropped as repeats."""
    stay = set(kept)
    repeats: dict[str, list[bytes]] = {}
    for position, entry in enumerate(entries):
        if position not in stay:
            repeats.setdefault(entry.id, []).append(entry.group)
    return [(one.prompt, one.group, *repeats.get(one.id, ())) for one in map(entries.__getitem__, kept)]


def _refuse_leakage(entries: Sequence[Entry], spool: Path) -> None:
    heldout = {entry.prompt for entry in entries if entry.part == "heldout"}
    leaked = {entry.prompt: position for position, entry in enumerate(entries) if entry.part != "heldout" and entry.prompt in heldout}
    if leaked:
        examples = ", ".join(shown(unmarked(pair.prompt)) for pair in read_spool(spool, sorted(leaked.values())[:3]))
        raise DataError(
            f"data.heldout shares {len(leaked)} prompts with data.seed or data.unlabeled: {examples}",
            reason="SplitLeakage",
            hint="remove these prompts from one side, or give one labelled data.source, which is split without leaks",
        )


def _sides(
    data: DataSpec, seed: int, entries: Sequence[Entry], groups: Sequence[Group], dropped: Mapping[str, Counter[str]]
) -> dict[str, list[Group]]:
    """The groups of each side."""
    if data.source is not None:
        sides = assign(groups, {"heldout": data.source.heldout_fraction, "seed": data.source.seed_fraction}, "pool", seed)
    else:
        sides = {
            side: groups_of_part(part, groups, entries) for side, part in (("seed", "seed"), ("pool", "unlabeled"), ("heldout", "heldout"))
        }
    sides |= assign(sides["seed"], {"dev": data.dev_fraction}, "seed", seed)
    for side, chosen in sides.items():
        count = sum(side == "pool" or not entries[member].is_tie for group in chosen for member in group.members)
        if count < MIN_PAIRS:
            part = "source" if data.source else file_of(side)
            own = groups if data.source else groups_of_part(part, groups, entries)
            raise too_few(data, side, count, [entry for entry in entries if entry.part == part], own, dropped[part])
    return sides


def _sorted_positions(groups: Sequence[Group], entries: Sequence[Entry], kept: Sequence[int]) -> list[int]:
    members = sorted((member for group in groups for member in group.members), key=lambda member: entries[member].id)
    return [kept[member] for member in members]


def _metrics(
    corpus: Corpus,
    positions: Mapping[str, Sequence[int]],
    ties: Mapping[str, Sequence[int]],
    groups: Sequence[Group],
    shared: tuple[int, list[str]],
    split_by: str,
    sources: Mapping[str, Source],
) -> PrepareMetrics:
    dropped = sum((tally.dropped for tally in corpus.tallies.values()), Counter[str]())
    sizes = {side: len(members) for side, members in positions.items()}
    left_out = [name for source in sources.values() for name in source.left_out]
    warnings = other_splits(left_out)
    warnings += [of_part(remark, f"data.{part}") for part, source in sources.items() for remark in source.remarks]
    warnings += [told for tally in corpus.tallies.values() for told in tally.first_of_each()]
    warnings += [*text_warnings(corpus.remarks, dropped, corpus.notes), *corpus.told[:5]]
    warnings += corpus.answers.warnings()
    warnings += split_warnings(sizes, [len(group.members) for group in groups], split_by)
    if learnt := len(ties["seed"]) + len(ties["dev"]):
        warnings.append(f"{counted(learnt, 'tie')} of seed and dev, learnt with target one half; accuracy and calibration leave them out")
    found, (seed_in_pool, heldout_elsewhere) = corpus.found, shared
    warnings += shared_with_heldout(heldout_elsewhere, split_by)
    return PrepareMetrics(
        found=found["source"] if "source" in found else "; ".join(f"{part}: {text}" for part, text in found.items()),
        rows=sum(tally.rows for tally in corpus.tallies.values()),
        seed=sizes["seed"],
        dev=sizes["dev"],
        pool=sizes["pool"],
        heldout=sizes["heldout"],
        hidden_labels=any(corpus.entries[position].better for position in positions["pool"]),
        shared_prompts=seed_in_pool,
        dropped=dict(sorted(dropped.items())),
        warnings=tuple(warnings),
    )


def _provenance(sources: Mapping[str, Source], corpus: Corpus) -> dict[str, Any]:
    return {
        part: {
            "uri": source.uri,
            "pinned": source.pinned,
            "found": corpus.found[part],
            "files": [{"name": file.name, "bytes": file.path.stat().st_size, "sha256": sha256_of(file.path)} for file in source.files],
            "leftOut": list(source.left_out),
            "rows": corpus.tallies[part].rows,
            "dropped": dict(sorted(corpus.tallies[part].dropped.items())),
        }
        for part, source in sources.items()
    }
