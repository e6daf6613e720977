"""Judges the reward model of a retrain: whether it holds, and how it scores the pairs that decide and the held-out ones."""

from collections.abc import Mapping, Sequence

import numpy as np

from ser_core.api.stage import InputRole
from ser_core.data.tables import CalibrationPair, EvaluatedPair, LabeledPair, PoolPair, read_table
from ser_core.learn.evaluation.collapse import Fit, why_collapsed, why_equal
from ser_core.learn.evaluation.margins import margins_of
from ser_core.learn.reward.reward_model import RewardModel
from ser_jobs.process.context import StageContext
from ser_jobs.training.retrain.evaluated import Evaluated, out_of_fold, seen_dev, with_dev
from ser_jobs.training.retrain.retrain_plan import Plan
from ser_jobs.training.retrain.training_progress import TrainingProgress


class Judge:
    """Judges the last model of one retrain, beside its fold models and the best reward model before.

    Scores are kept in the order: the pairs that decide, the sample of the pool, the held-out pairs.

    Args:
        context: Of the retrain.
        plan: Its trainings.
        progress: Scores the pairs.
        deciding: The pairs that decide: those that the folds hold back, or a dev part.
        heldout: The held-out pairs.
        groups: Group of each pair that the folds hold back.
    """

    def __init__(
        self,
        context: StageContext,
        plan: Plan,
        progress: TrainingProgress,
        deciding: Sequence[LabeledPair],
        heldout: Sequence[LabeledPair],
        groups: Mapping[str, str],
    ) -> None:
        self._context = context
        self._plan = plan
        self._progress = progress
        self._deciding = deciding
        self._heldout = heldout
        self._groups = groups
        self._checked = [*_unlabeled(deciding), *plan.sample]

    def why_collapsed(self, model: RewardModel, trial: int) -> str:
        """What is wrong with the trained model: its scores are all equal, or it is worse than its fold models; a control has those of the
        best reward model. Empty: nothing.

        Args:
            model: What the last training has made.
            trial: Number of the trial whose settings it has.
        """
        margins, seed = margins_of(self._progress.score_evaluated(model, self._checked, 0)), len(self._deciding)
        equal = why_equal(margins)
        if equal or self._context.spec.spec.loop.fold_count is None:
            return equal
        unseen = self._unseen(trial)
        if any(one.id not in unseen for one in self._deciding):
            return ""
        sampled = self._progress.position.sampled[self._plan.of_trial(trial)] if self._plan.keeps_folds else ()
        return why_collapsed(Fit(margins[:seed], np.array([unseen[one.id] for one in self._deciding]), margins[seed:], np.array(sampled)))

    def evaluate(self, model: RewardModel, trial: int, *, searched: bool) -> Evaluated:
        """The scores of dev and of the held-out pairs, and how they are calibrated.

        Args:
            model: As it is stored.
            trial: Number of the trial whose settings it has.
            searched: Whether these come from a search.
        """
        heldout = self._scored(model, self._heldout, len(self._checked))
        held_back, best = self._progress.position.held_back_by(self._plan.of_trial(trial)), self.of_best("dev_scores.parquet")
        if self._plan.keeps_folds:
            return out_of_fold(self._deciding, held_back, heldout, best, self._groups, searched=searched)
        dev = self._scored(model, self._deciding, 0)
        self._context.silent("evaluating")
        if self._context.spec.spec.loop.fold_count is not None:
            return seen_dev(dev, heldout, best)
        return with_dev(dev, heldout, held_back, self._carried_forward(), best)

    def of_best(self, name: str) -> Sequence[EvaluatedPair] | None:
        """A table of scores by the best reward model before; None: there is none."""
        if InputRole.BEST not in self._context.inputs:
            return None
        return read_table(self._context.fetch(InputRole.BEST, name), EvaluatedPair)

    def _unseen(self, trial: int) -> dict[str, float]:
        """Margin of each labelled pair by a fold model that has not seen it."""
        if self._plan.keeps_folds:
            held_back = self._progress.position.held_back_by(self._plan.of_trial(trial))
            return {one.id: one.margin for one in held_back}
        return {one.id: one.margin for one in self.of_best("dev_scores.parquet") or ()}

    def _scored(self, model: RewardModel, pairs: Sequence[LabeledPair], first: int) -> list[EvaluatedPair]:
        scores = self._progress.score_evaluated(model, _unlabeled(pairs), first)
        return [
            EvaluatedPair(pair.id, pair.source, score.score_1, score.score_2, score.tokens_1, score.tokens_2)
            for pair, score in zip(pairs, scores, strict=True)
        ]

    def _carried_forward(self) -> list[CalibrationPair]:
        """Cross-fitted pairs of the seed model; every later loop takes them over from the model that labelled."""
        if not self._context.has(InputRole.LABELER, "calibration.parquet"):
            return []
        known = read_table(self._context.fetch(InputRole.LABELER, "calibration.parquet"), CalibrationPair)
        return [pair for pair in known if pair.origin == "cross-fit"]


def _unlabeled(pairs: Sequence[LabeledPair]) -> list[PoolPair]:
    """Pairs to be scored, the chosen answer first."""
    return [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, pair.source) for pair in pairs]
