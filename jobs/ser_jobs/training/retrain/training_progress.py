"""Shows how far a retrain is, and saves it: one progress bar and one series of checkpoints over all its trainings and scorings."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ser_core.data.tables import PairScores, PoolPair, TrainingStep
from ser_core.errors import Interrupted
from ser_core.learn.compute import ranks
from ser_core.learn.compute.pieces import in_pieces
from ser_core.learn.reward.batching import deal
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.reward.scoring import Scores, score_pairs
from ser_core.learn.reward.training import TrainingState
from ser_jobs.process.context import StageContext
from ser_jobs.training.retrain.training_position import Position, count_known
from ser_jobs.training.stage_watch import StageWatch


class TrainingProgress(StageWatch):
    """The `Watch` of every training of a retrain, which does the same for the scorings. It keeps the `position`.

    Rank 0 shows and saves what it knows itself. While several processes share a scoring, that is its own share of the scores.

    Args:
        context: Where progress is shown and checkpoints are kept.
        evaluated: Evaluation pairs, dev and held-out.
        device: Where models are computed.
    """

    def __init__(self, context: StageContext, evaluated: int, device: str) -> None:
        super().__init__(context, device)
        self._total = 0
        saved = self._newest()
        self.position = Position.read(saved) if saved else Position.start(evaluated)
        """How far this retrain is: at first what the newest checkpoint says."""

    def save(self, state: TrainingState) -> None:
        """Keep a checkpoint of the running training."""
        self.position = self.position.with_training(state)
        self._keep_together(self.position.step, self.position.write)

    def trained(self, step: TrainingStep) -> None:
        """One more optimizer step was taken."""
        self.position = self.position.after_step(step.pairs)
        self._context.measurements.trained(step)
        self._show()

    def finish_training(self, state: TrainingState) -> None:
        """The training has ended with this state. Checkpoints of the scoring that follows hold it, so that no step is repeated."""
        self.position = self.position.with_training(state)

    def score_fold(self, model: RewardModel, pairs: Sequence[PoolPair]) -> list[PairScores]:
        """Scores of the pairs that the current fold held back. A stop loses them, but not the fold's training."""
        known = np.full((len(pairs), 2), np.nan)
        return self._score(model, pairs, known, lambda: self._show(count_known(known)))

    def finish_fold(self, held_back: Sequence[PairScores], sampled: Sequence[float], dead: str) -> None:
        """The current fold is finished; the pairs that it holds back have these scores, and the sample of the pool these margins.
        ``dead``: what is wrong with its model.
        """
        self.position = self.position.after_fold(held_back, sampled, dead)

    def repeat_training(self, why: str) -> None:
        """The current training is repeated."""
        self._context.reporter.event("collapsed", message=why)
        self.position = self.position.after_collapse(why)
        self._show()

    def leave_out(self, trial: int, why: str, folds: int, kept: int) -> None:
        """The rest of a trial is left out, as `Position.after_divergence` says."""
        self._context.reporter.event("diverged", message=why)
        self.position = self.position.after_divergence(trial, why, folds, kept)

    def expect(self, total: int) -> None:
        """So many pairs pass through a model that is kept, as far as that is known."""
        self._total = total
        self._show()

    def start_anew(self) -> None:
        """What an earlier attempt has left cannot be used."""
        self._context.reporter.event("checkpoint-set-aside")
        self.position = Position.start(len(self.position.scores))

    def score_evaluated(self, model: RewardModel, pairs: Sequence[PoolPair], first: int) -> list[PairScores]:
        """Scores of the evaluation pairs from number ``first`` on; those that the position knows are not computed again."""
        known = self.position.scores[first : first + len(pairs)].copy()

        def keep() -> None:
            self.position = self.position.with_scores(first, known)
            self._show()

        return self._score(model, pairs, known, keep)

    def _score(self, model: RewardModel, pairs: Sequence[PoolPair], known: Scores, keep: Callable[[], None]) -> list[PairScores]:
        """Complete ``known``, and call ``keep`` whenever it has grown."""
        self.silent("encoding what is scored")
        if self._context.world_size > 1:
            self._score_together(model, pairs, known, keep)
        return self._score_alone(model, pairs, known, keep)

    def _score_together(self, model: RewardModel, pairs: Sequence[PoolPair], known: Scores, keep: Callable[[], None]) -> None:
        """Complete ``known``, which is the same in all processes: each scores a share of what is missing, and then gets all shares.

        A score that is not finite stays unknown: all processes find it again, and refuse it together, so that none waits for another.
        """
        missing = np.flatnonzero(np.isnan(known).any(axis=1)).tolist()
        sizes = [pairs[index].characters for index in missing]
        own = [missing[place] for place in deal(sizes, self._context.world_size)[self._context.rank]]
        scores = known[own]

        def keep_own() -> None:
            known[own] = scores
            keep()

        self._score_alone(model, [pairs[index] for index in own], scores, keep_own, refuse=False)
        shares = np.zeros_like(known)
        shares[own] = scores
        self.silent("waiting for scores of the other ranks")
        known[missing] = ranks.total(torch.from_numpy(shares).to(self._device)).cpu().numpy()[missing]
        keep()

    def _score_alone(
        self, model: RewardModel, pairs: Sequence[PoolPair], known: Scores, keep: Callable[[], None], *, refuse: bool = True
    ) -> list[PairScores]:
        def after_batch(_answers: int) -> None:
            keep()
            if self._in_any(self.stopping(), model):
                self._keep_scores(model)
                if in_pieces(model.network):
                    ranks.meet(self._device)
                raise Interrupted(
                    f"stopped while scoring, after optimizer step {self.position.step}", hint="start it again to go on from there"
                )
            if self._in_any(self.checkpoint_due(), model):
                self._keep_scores(model)

        return score_pairs(model, pairs, self._context.tokens_per_batch, known, after_batch, refuse=refuse)[0]

    def _in_any(self, wanted: bool, model: RewardModel) -> bool:
        """Whether it is wanted; processes that score together with a model do the same."""
        return ranks.anywhere(wanted, self._device) if in_pieces(model.network) else wanted

    def _keep_scores(self, model: RewardModel) -> None:
        """Keep a checkpoint between two batches. A model in pieces has learnt in all processes, and each has its own of it."""
        keep = self._keep_together if in_pieces(model.network) else self._keep_own
        keep(self.position.step, self.position.write)

    def _show(self, scored: int = 0) -> None:
        """Show the position; ``scored`` are the answers that an unfinished fold has scored."""
        total = self._total + self.position.thrown_away // 2
        self._context.reporter.progress((self.position.answers + scored) // 2, total, "pairs")
