"""What single steps of the first loop reach: its labels chosen another way (`steps`), or learnt another way."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.science.arms import Arms
from benchmarks.science.filters import evaluated
from benchmarks.science.lessons import Label, Lesson, corrected, mismatched, of_models, of_people, taught, with_gaps
from benchmarks.science.rows import Result
from benchmarks.science.steps import AS_IT_IS, SELECTIONS, selections
from ser_core.data.tables import EvaluatedPair, FoldScores, PairScores, read_table
from ser_core.learn.evaluation.folds import folds_of_groups
from ser_core.learn.evaluation.margins import margins_of
from ser_core.learn.evaluation.search import best_trial
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.reward.scoring import score_pairs
from ser_core.learn.trust.chance import fit_chance
from ser_core.learn.trust.confident import SHARE, FoldEvidence, most_confident, own_labels
from ser_core.learn.trust.fold_evidence import fold_evidence, fold_margins
from ser_core.learn.trust.selection import Floats, Selection
from ser_core.loop.deciding.stages import LABEL_1

AMOUNTS = {"chosen amount": (0.0, 0.3, SHARE, 1.0), "60 or 100 %": (SHARE, 1.0)}
"""Shares of the pool among which the out-of-fold log loss may choose."""
GAPS = 0.1
"""Share of the words that are left out."""


class StepArms:
    """Steps of one cell."""

    def __init__(self, arms: Arms) -> None:
        self._arms, self._spec = arms, arms.ledger.run.spec
        self._seed, self._pool, self._groups = arms.seed(), arms.pool(), arms.groups()
        labels = arms.ledger.stages[LABEL_1]
        means = read_table(arms.copies.of(labels, "labels.parquet"), PairScores)
        folds = read_table(arms.copies.of(labels, "fold_labels.parquet"), FoldScores)
        self._unseen = read_table(arms.copies.of(arms.ledger.models[0], "dev_scores.parquet"), EvaluatedPair)
        self._names = [one.id for one in means]
        self._evidence: FoldEvidence = fold_evidence(self._unseen, means, fold_margins(folds, means))
        scores, own = np.array([(one.score_1, one.score_2) for one in means]).T, self._scores(arms.stored_model(arms.ledger.models[0]))
        of_run = self._spec.loop.thresholds, self._spec.training.pairs_per_step
        self._selected = selections(scores, own, self._evidence, *of_run)

    def results(self, wanted: Collection[str]) -> Iterator[Result]:
        """One for each of ``wanted``, names of `STEPS`."""
        trainings = {
            **dict.fromkeys(AMOUNTS, self._chosen_amount),
            "cross-labelled": self._cross_labelled,
            "crossed folds": self._crossed_folds,
            "second loop": self._second_loop,
            "doubly robust": self._doubly_robust,
            "gaps": self._gaps,
            "mismatched": self._mismatched,
        }
        for name in wanted:
            yield self._learnt(name, self._labels(self._selected[name])) if name in SELECTIONS else trainings[name](name)

    def _cross_labelled(self, name: str) -> Result:
        labels, scores, second = self._labels(self._selected[AS_IT_IS]), np.empty((2, len(self._names))), self._second_half()
        for half in (second, ~second):
            of_other = {pair: labels[pair] for pair, labelled in zip(self._names, half, strict=True) if pair in labels and not labelled}
            lessons = [*of_people(self._seed), *of_models(self._pool, of_other)]
            scores[:, half] = self._scores(taught(self._arms.base, self._spec, lessons))[:, half]
        evidence = replace(self._evidence, folds=(scores[0] - scores[1])[np.newaxis])
        return self._learnt(name, self._chosen(scores[0], scores[1], evidence))

    def _crossed_folds(self, name: str) -> Result:
        """A fold model learns no self-label of the other half."""
        second, count = self._second_half(), int(self._selected[AS_IT_IS].kept.sum())
        scores, unseen = [], list[EvaluatedPair]()
        for fold, margins in enumerate(self._evidence.folds):
            model, judged = self._fold_model(fold, own_labels(margins, count) * (second == fold % 2))
            scores.append(np.where(second == fold % 2, np.nan, self._scores(model)))
            unseen += judged
        by_id = {pair.id: pair for pair in unseen}
        margins = margins_of(by_id[pair.id] for pair in self._unseen)
        first, other = np.nanmean(scores, axis=0)
        evidence = replace(self._evidence, margins=margins, folds=np.nan_to_num(np.array([one[0] - one[1] for one in scores])))
        return self._learnt(name, self._chosen(first, other, evidence))

    def _chosen_amount(self, name: str) -> Result:
        """Of 0 and of the rule's amount the run itself has the fold models."""
        models, amounts = self._arms.ledger.models, AMOUNTS[name]
        of_run = {0.0: self._unseen, SHARE: read_table(self._arms.copies.of(models[1], "dev_scores.parquet"), EvaluatedPair)}
        unseen = of_run | {share: self._cross_fitted(share) for share in amounts if share not in of_run}
        margins = [margins_of(unseen[share]) for share in amounts]
        best = amounts[best_trial(margins)]
        if best in of_run:
            kept = int(self._selected[AS_IT_IS].kept.sum()) if best else 0
            return replace(self._arms.stored(name, models[1 if best else 0]), kept=[kept], agreement=[None])
        return self._learnt(name, self._labels(self._selected["surest 30 %" if best < SHARE else "all"]))

    def _cross_fitted(self, share: float) -> list[EvaluatedPair]:
        """The labels of the seed, each pair scored by the model of its fold, which has learnt this share of the pool."""
        count = round(share * len(self._names))
        return [pair for fold, margins in enumerate(self._evidence.folds) for pair in self._fold_model(fold, own_labels(margins, count))[1]]

    def _fold_model(self, fold: int, own: NDArray[np.int64]) -> tuple[RewardModel, list[EvaluatedPair]]:
        """A model that has learnt all folds of the seed but one, the run's own folds, and labels of its own; and how it judges that fold.

        Args:
            fold: The one that it holds back; nor does it learn self-labels of its prompts.
            own: (pairs,) the better answer of each pair of the pool, 0 where it is not learnt.
        """
        fold_of = folds_of_groups(
            {pair.id: self._groups[pair.id] for pair in self._seed}, len(self._evidence.folds), self._spec.training.seed
        )
        held_back = {self._groups[pair] for pair, number in fold_of.items() if number == fold}
        labels = {
            pair: Label(int(better))
            for pair, better in zip(self._names, own, strict=True)
            if better and self._groups.get(pair) not in held_back
        }
        seen = [pair for pair in self._seed if fold_of[pair.id] != fold]
        model = taught(self._arms.base, self._spec, [*of_people(seen), *of_models(self._pool, labels)])
        return model, evaluated(model, [pair for pair in self._seed if fold_of[pair.id] == fold], self._spec.training.tokens_per_batch)

    def _second_loop(self, name: str) -> Result:
        found = self._arms.stored(name, self._arms.ledger.models[2], loops=True)
        return replace(found, kept=found.kept[1:], agreement=found.agreement[1:], bands=())

    def _second_half(self) -> NDArray[np.bool_]:
        """(pairs,) which half of the pool each pair is in."""
        order: NDArray[np.int64] = np.random.default_rng(self._arms.cell.seed).permutation(len(self._names))
        half: NDArray[np.bool_] = order % 2 == 1
        return half

    def _doubly_robust(self, name: str) -> Result:
        labels = self._labels(self._selected["soft, all"])
        chances = fit_chance(self._evidence.margins, self._evidence.differences).of(self._evidence.margins, self._evidence.differences)
        by_id = {pair.id: float(chance) for pair, chance in zip(self._unseen, chances, strict=True)}
        return self._arms.taught(name, labels, [*corrected(self._seed, by_id, len(labels)), *of_models(self._pool, labels)])

    def _gaps(self, name: str) -> Result:
        labels = self._labels(self._selected[AS_IT_IS])
        learnt = with_gaps(of_models(self._pool, labels), GAPS, self._arms.cell.seed)
        return self._arms.taught(name, labels, [*of_people(self._seed), *learnt])

    def _mismatched(self, name: str) -> Result:
        return self._learnt(name, self._labels(self._selected[AS_IT_IS]), first=mismatched(self._pool, self._arms.cell.seed))

    def _learnt(self, name: str, labels: dict[str, Label], first: Sequence[Lesson] = ()) -> Result:
        lessons = [*of_people(self._seed), *of_models(self._pool, labels)]
        return self._arms.taught(name, labels, lessons, first)

    def _chosen(self, first: Floats, other: Floats, evidence: FoldEvidence) -> dict[str, Label]:
        return self._labels(most_confident(first, other, self._spec.loop.thresholds, evidence, self._spec.training.pairs_per_step))

    def _labels(self, chosen: Selection) -> dict[str, Label]:
        rows = zip(self._names, chosen.kept, chosen.better, chosen.target, chosen.weight, strict=True)
        return {pair: Label(int(better), float(target), float(weight)) for pair, keep, better, target, weight in rows if keep}

    def _scores(self, model: RewardModel) -> NDArray[np.float64]:
        """(2, pairs) scores of the pool, in the order of its labels."""
        unknown = np.full((len(self._names), 2), np.nan)
        rows, _ = score_pairs(model, self._pool, self._spec.training.tokens_per_batch, unknown)
        found = {one.id: (one.score_1, one.score_2) for one in rows}
        return np.array([found[name] for name in self._names], dtype=np.float64).T
