"""What a trained reward model is judged by: its scores of dev and held-out pairs, the temperature, and the comparison with the best."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_core.data.tables import CalibrationPair, EvaluatedPair, LabeledPair, PairScores, TrainingStep, write_table
from ser_core.learn.evaluation.calibration import fit_temperature, learnt_too_little
from ser_core.learn.evaluation.evaluation import report
from ser_core.learn.evaluation.margins import margins_of
from ser_core.learn.evaluation.paired import PairedLoss, log_losses, paired_loss


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The scores that a reward model is judged by.

    Attributes:
        dev: Of the pairs that decide: the dev part, or the whole seed out of fold.
        heldout: Of the held-out pairs.
        temperature: Divides score differences into log odds.
        calibration: The pairs that the temperature was fitted on.
        best_dev: ``dev`` of the best reward model before; None: there is none, or it has other pairs.
        paired: Out-of-fold log loss against the best reward model before.
        notes: What a user should know of these numbers.
    """

    dev: Sequence[EvaluatedPair]
    heldout: Sequence[EvaluatedPair]
    temperature: float
    calibration: Sequence[CalibrationPair]
    best_dev: Sequence[EvaluatedPair] | None = None
    paired: PairedLoss | None = None
    notes: tuple[str, ...] = ()


def out_of_fold(
    seed: Sequence[LabeledPair],
    held_back: Sequence[PairScores],
    heldout: Sequence[EvaluatedPair],
    best: Sequence[EvaluatedPair] | None,
    groups: Mapping[str, str],
    *,
    searched: bool,
) -> Evaluated:
    """Rule calibrated: each pair of the whole seed as the fold model scores it that has not seen it.

    Args:
        seed: All pairs with human labels.
        held_back: Their scores out of fold, in any order; the chosen answer first.
        heldout: The reward model's scores of the held-out pairs.
        best: The same out-of-fold scores of the best reward model before.
        groups: Group of each seed pair.
        searched: Whether its settings come from a search.
    """
    scores = {one.id: one for one in held_back}
    rows = [(pair.source, scores[pair.id]) for pair in seed]
    dev = [EvaluatedPair(one.id, source, one.score_1, one.score_2, one.tokens_1, one.tokens_2) for source, one in rows]
    temperature = fit_temperature(margins_of(dev))
    calibration = [CalibrationPair(pair.id, pair.margin / temperature, "cross-fit") for pair in dev]
    paired = None if best is None else paired_loss(log_losses(best), log_losses(dev), groups)
    notes = learnt_too_little(temperature, len(dev), searched=searched) if best is None else ()
    return Evaluated(dev, heldout, temperature, calibration, best, paired, notes)


def with_dev(
    dev: Sequence[EvaluatedPair],
    heldout: Sequence[EvaluatedPair],
    held_back: Sequence[PairScores],
    carried: Sequence[CalibrationPair],
    best: Sequence[EvaluatedPair] | None,
) -> Evaluated:
    """A dev part decides. Its margins and those of cross-fitted pairs share one temperature, which is fitted on both together.

    Args:
        dev: The reward model's scores of the dev pairs.
        heldout: Of the held-out pairs.
        held_back: Cross-fitted scores of the seed, where there are few dev pairs.
        carried: Cross-fitted pairs of the seed model, which every later loop takes over.
        best: The best reward model's scores of the dev pairs.
    """
    temperature = fit_temperature(margins_of([*dev, *held_back]))
    calibration = [
        *(CalibrationPair(pair.id, pair.margin / temperature, "dev") for pair in dev),
        *(CalibrationPair(pair.id, pair.margin / temperature, "cross-fit") for pair in held_back),
        *carried,
    ]
    return Evaluated(dev, heldout, temperature, calibration, best)


def seen_dev(dev: Sequence[EvaluatedPair], heldout: Sequence[EvaluatedPair], best: Sequence[EvaluatedPair] | None) -> Evaluated:
    """A control of rule calibrated, which is trained on every label: the best model's temperature calibrates it.

    Args:
        dev: The control's scores of the dev pairs, which it was trained on.
        heldout: Of the held-out pairs.
        best: Out-of-fold scores of the best reward model.
    """
    note = "trained on every label: its dev numbers are of pairs that it has seen, its temperature is that of the best reward model"
    return Evaluated(dev, heldout, fit_temperature(margins_of(best or dev)), [], notes=(note,))


def write_evaluated(folder: Path, found: Evaluated, history: Sequence[TrainingStep], groups: Mapping[str, str] | None) -> dict[str, Path]:
    """Write the tables of an evaluation, and that of the training; returns them by name. ``groups``: of the pairs, where they are known."""
    write_table(folder / "dev_scores.parquet", EvaluatedPair, found.dev)
    write_table(folder / "heldout_scores.parquet", EvaluatedPair, found.heldout)
    write_table(folder / "calibration.parquet", CalibrationPair, found.calibration)
    write_table(folder / "training.parquet", TrainingStep, history)
    parts = {"dev": found.dev, "heldout": found.heldout}
    details = {name: report(pairs, found.temperature, groups) for name, pairs in parts.items()}
    (folder / "evaluation.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
    names = ("dev_scores.parquet", "heldout_scores.parquet", "calibration.parquet", "training.parquet", "evaluation.json")
    return {name: folder / name for name in names}
