"""The stage `filter`: decide which self-labels of this loop are trusted, and say why.

Human labels of the pool are read only after the decision, to report how often the self-labels agree with them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ser_core.api.spec.loop import Rule
from ser_core.api.stage import FilterMetrics, InputRole, RetrainMetrics
from ser_core.api.status import Monitors
from ser_core.data.tables import (
    CalibrationPair,
    Decision,
    EvaluatedPair,
    FoldDecision,
    FoldScores,
    HiddenLabel,
    PairScores,
    read_table,
    write_table,
)
from ser_core.errors import SpecError
from ser_core.learn.evaluation.collapse import why_equal
from ser_core.learn.trust.agreement import agreement_report
from ser_core.learn.trust.confident import most_confident, own_labels
from ser_core.learn.trust.fold_evidence import fold_evidence, fold_margins
from ser_core.learn.trust.likeness import unlike
from ser_core.learn.trust.monitors import Unseen, by_chance, by_probabilities, by_temperature, monitors, same_labels
from ser_core.learn.trust.selection import Evidence, Selection, calibrated, paper, reference
from ser_core.loop.deciding.learning_status import EQUAL_SCORES, SO_THAT_SCORES_DIFFER
from ser_jobs.process.context import StageContext, StageOutput

BothScores = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of the first and of the second answers of all labelled pairs."""
_LEARNT_NOTHING = f"{EQUAL_SCORES}, so the reward model has learnt nothing: {SO_THAT_SCORES_DIFFER}"


def body(context: StageContext) -> StageOutput:
    """Write one decision for each labelled pair, and the agreement with the human labels of the pool where there are any.

    Raises:
        SpecError: An input is missing or of the wrong kind.
        QualityError: Scores or calibration margins are not finite.
    """
    labels = read_table(context.fetch(InputRole.LABELS, "labels.parquet"), PairScores)
    folds = None if context.spec.spec.loop.fold_count is None else fold_margins(_fold_labels(context), labels)
    scores = _scores(labels)
    selection, unseen = _select(context, labels, scores, folds)
    if why_equal(scores[0] - scores[1]):
        selection = replace(selection, notes=(_LEARNT_NOTHING, *selection.notes))
    context.reporter.event("selected", status=selection.learning_status.value, kept=int(selection.kept.sum()), notes=selection.notes)
    decisions = _decisions(labels, selection, _hidden_labels(context))
    files = {"decisions.parquet": context.workdir / "decisions.parquet"}
    write_table(files["decisions.parquet"], Decision, decisions)
    if folds is not None:
        files["fold_decisions.parquet"] = context.workdir / "fold_decisions.parquet"
        write_table(files["fold_decisions.parquet"], FoldDecision, _fold_decisions(labels, folds, int(selection.kept.sum())))
    agreement = agreement_report(decisions)
    if agreement["all"]["pairs"]:
        files["agreement.json"] = context.workdir / "agreement.json"
        files["agreement.json"].write_text(json.dumps(agreement, indent=2) + "\n", encoding="utf-8")
    kept = int(selection.kept.sum())
    metrics = FilterMetrics(
        learning_status=selection.learning_status,
        labeled=len(labels),
        status1=selection.status1,
        status2=selection.status2,
        kept=kept,
        kept_fraction=kept / max(1, len(labels)),
        threshold=selection.threshold,
        agreement=agreement["kept"]["agreement"],
        agreement_all=agreement["all"]["agreement"],
        notes=selection.notes,
        monitors=_monitors(context, labels, scores, selection, unseen),
    )
    return StageOutput(files, metrics)


def _select(
    context: StageContext, labels: Sequence[PairScores], scores: BothScores, folds: NDArray[np.float64] | None
) -> tuple[Selection, Unseen | None]:
    """What the rule makes of the pool, and of the labelled pairs that what labels has not seen."""
    spec = context.spec.spec
    thresholds, minimum = spec.loop.thresholds, spec.training.pairs_per_step
    score_1, score_2 = scores
    if spec.loop.rule is Rule.PAPER:
        return paper(score_1, score_2, thresholds), _dev(context)
    if spec.loop.rule is Rule.REFERENCE:
        return reference(score_1, score_2, thresholds), _dev(context)
    if folds is not None:
        seed = read_table(context.fetch(InputRole.LABELER, "dev_scores.parquet"), EvaluatedPair)
        out_of_fold = fold_evidence(seed, labels, folds)
        selection = most_confident(score_1, score_2, thresholds, out_of_fold, minimum)
        prompts = (_prompt_lengths(context, name) for name in ("seed.parquet", "pool.parquet"))
        told = unlike(out_of_fold, *prompts) if context.spec.iteration == 1 else ()
        return replace(selection, notes=(*selection.notes, *told)), by_chance(out_of_fold)
    evidence = _evidence(context, labels)
    return calibrated(score_1, score_2, thresholds, evidence, minimum), by_temperature(evidence.margins)


def _scores(labels: Sequence[PairScores]) -> BothScores:
    score_1, score_2 = ([pair.score_1 for pair in labels], [pair.score_2 for pair in labels])
    return np.array(score_1, dtype=np.float64), np.array(score_2, dtype=np.float64)


def _dev(context: StageContext) -> Unseen | None:
    """The dev part as the labelling model scores it."""
    if not context.has(InputRole.LABELER, "dev_scores.parquet"):
        return None
    dev = read_table(context.fetch(InputRole.LABELER, "dev_scores.parquet"), EvaluatedPair)
    chosen, rejected = ([pair.score_chosen for pair in dev], [pair.score_rejected for pair in dev])
    return by_probabilities(np.array(chosen, dtype=np.float64), np.array(rejected, dtype=np.float64))


def _monitors(
    context: StageContext, labels: Sequence[PairScores], scores: BothScores, selection: Selection, unseen: Unseen | None
) -> Monitors | None:
    own = {pair.id: int(better) for pair, better in zip(labels, selection.better, strict=True)}
    return monitors(*scores, selection, unseen, same_labels(own, _labels_before(context)))


def _labels_before(context: StageContext) -> dict[str, int]:
    """Labels of the loop before by pair id; empty in the first loop."""
    if InputRole.KEPT_BEFORE not in context.inputs:
        return {}
    return {row.id: row.better for row in read_table(context.fetch(InputRole.KEPT_BEFORE, "decisions.parquet"), Decision)}


def _fold_labels(context: StageContext) -> Sequence[FoldScores]:
    return read_table(context.fetch(InputRole.LABELS, "fold_labels.parquet"), FoldScores)


def _fold_decisions(labels: Sequence[PairScores], folds: NDArray[np.float64], count: int) -> Iterator[FoldDecision]:
    for fold, margins in enumerate(folds):
        better = own_labels(margins, count)
        yield from (FoldDecision(pair.id, fold, int(label)) for pair, label in zip(labels, better, strict=True) if label)


def _evidence(context: StageContext, labels: Sequence[PairScores]) -> Evidence:
    """The labelling model's calibration, and lengths in characters of the pool's and of the seed's answers."""
    labeler = context.inputs[InputRole.LABELER]
    if not isinstance(labeler.metrics, RetrainMetrics):
        raise SpecError(
            f"input labeler is {labeler.stage} of iteration {labeler.iteration}, which fits no temperature: it must be a retrain"
        )
    calibration = read_table(context.fetch(InputRole.LABELER, "calibration.parquet"), CalibrationPair)
    pool = _longer(context.fetch(InputRole.PREPARED, "pool.parquet"), "answer_1", "answer_2")
    seed = [sign for sign in _longer(context.fetch(InputRole.PREPARED, "seed.parquet"), "chosen", "rejected").values() if sign]
    return Evidence(
        temperature=labeler.metrics.temperature,
        margins=np.array([pair.margin for pair in calibration], dtype=np.float64),
        longer=np.array([pool[pair.id] for pair in labels], dtype=np.int64),
        seed_longer_share=sum(sign > 0 for sign in seed) / len(seed) if seed else None,
    )


def _prompt_lengths(context: StageContext, name: str) -> NDArray[np.float64]:
    """Characters of each prompt of a part; of one that several pairs share once."""
    prompts = pc.unique(pq.read_table(context.fetch(InputRole.PREPARED, name), columns=["prompt"])["prompt"])
    return np.asarray(pc.utf8_length(prompts), dtype=np.float64)


def _longer(path: Path, first: str, second: str) -> dict[str, int]:
    """By pair id: +1 where column ``first`` has more characters than ``second``, -1 where it has fewer, 0 where they are equal."""
    table = pq.read_table(path, columns=["id", first, second])
    difference = pc.subtract(pc.utf8_length(table[first]), pc.utf8_length(table[second]))
    return dict(zip(table["id"].to_pylist(), pc.sign(difference).to_pylist(), strict=True))


def _hidden_labels(context: StageContext) -> dict[str, int]:
    if not context.has(InputRole.PREPARED, "pool_labels.parquet"):
        return {}
    return {label.id: label.better for label in read_table(context.fetch(InputRole.PREPARED, "pool_labels.parquet"), HiddenLabel)}


def _decisions(labels: Sequence[PairScores], selection: Selection, hidden: Mapping[str, int]) -> list[Decision]:
    return [
        Decision(
            id=pair.id,
            score_1=pair.score_1,
            score_2=pair.score_2,
            better=int(selection.better[row]),
            confidence=float(selection.confidence[row]),
            status=int(selection.status[row]),
            kept=bool(selection.kept[row]),
            target=float(selection.target[row]),
            weight=float(selection.weight[row]),
            agrees=int(selection.better[row]) == hidden[pair.id] if pair.id in hidden else None,
        )
        for row, pair in enumerate(labels)
    ]
