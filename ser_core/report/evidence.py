"""The tables behind a ledger's numbers: decisions, scores of held-out pairs, training steps and sample pairs, read back verified.

Only small summaries stay in memory: a pool may hold millions of pairs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ser_core.api.stage import FilterMetrics
from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.data.tables import EvaluatedPair, PolicyStep, SupervisedStep, read_table
from ser_core.learn.trust.agreement import BANDS
from ser_core.report.copies import Copies
from ser_core.report.heldout import read_groups
from ser_core.report.ledger import Aligned, Ledger, StageRecord, Trained
from ser_core.store.objects.port import ObjectStore

SAMPLES = 4
"""Kept and dropped pairs each that are shown."""
MAX_POINTS = 40
"""Points of a training curve; more steps are averaged."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of a loop's self-labels: a band of confidence, or a status."""

    name: str
    labeled: int
    kept: int
    known: int
    """Pairs whose human label is known."""
    agreeing: int
    """Of these, the self-labels that equal it."""
    confidence: float | None
    """Their mean confidence; None where no human label is known."""

    @property
    def agreement(self) -> float | None:
        """Share of the self-labels that equal the human ones; None where no human label is known."""
        return self.agreeing / self.known if self.known else None


@dataclass(frozen=True, slots=True)
class LoopEvidence:
    """What one loop's filter saw and did."""

    record: StageRecord[FilterMetrics]
    bands: tuple[Slice, ...]
    """The bands of agreement.json."""
    statuses: tuple[Slice, ...]
    """Status 1, Status 2, neither."""
    judged: int
    """Kept pairs whose human label is known: what the agreement is a share of."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One pool pair with what was made of it."""

    prompt: str
    better_answer: str
    """The answer that the reward model prefers."""
    worse_answer: str
    better_score: float
    worse_score: float
    confidence: float
    kept: bool
    agrees: bool | None


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """One reward model on the held-out pairs, and how it was trained."""

    record: Trained
    pairs: Sequence[EvaluatedPair]
    heldout: Mapping[str, Any]
    """Part ``heldout`` of evaluation.json (`ser_core.learn.evaluation.evaluation.report`)."""
    losses: tuple[tuple[float, float], ...]
    """(step, mean loss)."""


@dataclass(frozen=True, slots=True)
class PolicyEvidence:
    """How the policy was aligned, and its answers to the held-out prompts before and after."""

    record: Aligned
    steps: Sequence[PolicyStep]
    answers: Sequence[Mapping[str, Any]]
    """``prompt``, and ``before`` and ``after`` with ``text`` and ``score``; from the most to the least gained score, evenly spread."""
    losses: tuple[tuple[float, float], ...]
    """(step, loss) of the fine-tuning; empty where there was none."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the report draws beyond the manifests."""

    models: tuple[ModelEvidence, ...]
    controls: Mapping[str, ModelEvidence]
    loops: tuple[LoopEvidence, ...]
    samples: tuple[Sample, ...]
    """Of the last loop that kept pairs."""
    provenance: Mapping[str, Any]
    """provenance.json of `prepare`: what was read, with digests."""
    policy: PolicyEvidence | None = None
    groups: Mapping[str, str] | None = None
    """Group of each labelled pair (`splitBy`); None: they are not known (`ser_core.report.heldout`)."""


def read_evidence(store: ObjectStore, ledger: Ledger, folder: Path) -> Evidence:
    """Read what the report needs.

    Args:
        store: The run's store.
        ledger: Its committed stages.
        folder: An empty folder for copies; may be deleted afterwards.

    Raises:
        StoreError: Something cannot be read, or differs from its manifest.
    """
    copies = Copies(store, folder)
    decided = [(record, pq.read_table(copies.of(record, "decisions.parquet"))) for record in ledger.filters]
    last = next(((record, table) for record, table in reversed(decided) if record.metrics.kept), None)
    prepared = ledger.prepared
    return Evidence(
        models=tuple(_model(copies, record) for record in ledger.models),
        controls={name: _model(copies, record) for name, record in ledger.controls.items()},
        loops=tuple(LoopEvidence(record, _bands(table), _statuses(table), _judged(table)) for record, table in decided),
        samples=() if last is None or prepared is None else _samples(last[1], copies.of(prepared, "pool.parquet")),
        provenance={} if prepared is None else json.loads(copies.of(prepared, "provenance.json").read_bytes()),
        policy=None if ledger.policy is None else _policy(copies, ledger, ledger.policy),
        groups=read_groups(copies, ledger),
    )


def _model(copies: Copies, record: Trained) -> ModelEvidence:
    steps = pq.read_table(copies.of(record, "training.parquet"), columns=["step", "loss"])
    return ModelEvidence(
        record=record,
        pairs=read_table(copies.of(record, "heldout_scores.parquet"), EvaluatedPair),
        heldout=json.loads(copies.of(record, "evaluation.json").read_bytes())["heldout"],
        losses=thinned(steps["step"].to_numpy(), steps["loss"].to_numpy()),
    )


def _policy(copies: Copies, ledger: Ledger, record: Aligned) -> PolicyEvidence:
    lines = copies.of(record, "answers.jsonl").read_bytes().splitlines()  # Unicode has more line ends, and JSON keeps them within a text
    answers = [json.loads(line) for line in lines]
    gains = np.array([answer["before"]["score"] - answer["after"]["score"] for answer in answers])
    tuned = ledger.tuned
    steps = [] if tuned is None else read_table(copies.of(tuned, "sft.parquet"), SupervisedStep)
    return PolicyEvidence(
        record=record,
        steps=read_table(copies.of(record, "ppo.parquet"), PolicyStep),
        answers=[answers[place] for place in spread(np.argsort(gains, kind="stable"))],
        losses=thinned(np.array([step.step for step in steps]), np.array([step.loss for step in steps])),
    )


def thinned(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """A curve of at most `MAX_POINTS` points: means over stretches of equal length."""
    parts = [part for part in np.array_split(np.arange(len(steps)), MAX_POINTS) if len(part)]
    return tuple((float(steps[part].mean()), float(losses[part].mean())) for part in parts)


def _bands(decisions: pa.Table) -> tuple[Slice, ...]:
    confidence = decisions["confidence"].to_numpy()
    place = np.clip(np.searchsorted(BANDS, confidence, side="right") - 1, 0, len(BANDS) - 2)
    return tuple(_slice(decisions, place == band, f"{low:g}–{high:g}") for band, (low, high) in enumerate(pairwise(BANDS)))


def _statuses(decisions: pa.Table) -> tuple[Slice, ...]:
    status = decisions["status"].to_numpy()
    return tuple(_slice(decisions, status == value, name) for value, name in ((1, "Status 1"), (2, "Status 2"), (0, "neither")))


def _judged(decisions: pa.Table) -> int:
    return _count(pc.and_(decisions["kept"], pc.is_valid(decisions["agrees"])))


def _slice(decisions: pa.Table, chosen: NDArray[np.bool_], name: str) -> Slice:
    part = decisions.select(["confidence", "kept", "agrees"]).filter(pa.array(chosen))
    known = part.filter(pc.is_valid(part["agrees"]))
    confidence = pc.mean(known["confidence"]).as_py()
    return Slice(name, part.num_rows, _count(part["kept"]), known.num_rows, _count(known["agrees"]), confidence)


def _count(flags: pa.ChunkedArray) -> int:
    return pc.sum(flags).as_py() or 0


def _samples(decisions: pa.Table, pool: Path) -> tuple[Sample, ...]:
    kept = decisions["kept"].to_numpy(zero_copy_only=False)
    order = np.argsort(-decisions["confidence"].to_numpy(), kind="stable")
    rows = decisions.take([*spread(order[kept[order]]), *spread(order[~kept[order]])]).to_pylist()
    texts = pq.read_table(pool, filters=[("id", "in", [row["id"] for row in rows])]).to_pylist() if rows else []
    by_id = {text["id"]: text for text in texts}
    return tuple(_sample(row, by_id[row["id"]]) for row in rows)


def spread(order: NDArray[np.int64]) -> Iterable[int]:
    """`SAMPLES` evenly spaced members of ``order``, first and last included."""
    places = {round(place) for place in np.linspace(0, len(order) - 1, SAMPLES)} if len(order) else set()
    return [int(order[place]) for place in sorted(places)]


def _sample(decision: Mapping[str, Any], pair: Mapping[str, Any]) -> Sample:
    better, worse = decision["better"], 3 - decision["better"]
    return Sample(
        prompt=unmarked(pair["prompt"]),
        better_answer=pair[f"answer_{better}"],
        worse_answer=pair[f"answer_{worse}"],
        better_score=decision[f"score_{better}"],
        worse_score=decision[f"score_{worse}"],
        confidence=decision["confidence"],
        kept=decision["kept"],
        agrees=decision["agrees"],
    )
