"""Proximal policy optimisation (PPO) of a language model with a reward model. Read it from top to bottom.

A step: prompts → answers → scores → log-probabilities and values → rewards and advantages → updates → the next step's state.
With several processes, every process has its share of the rows, and all have the same weights. Every sum and every decision is over all
processes.

Sources: arXiv 1707.06347 (PPO), 1506.02438 (GAE), 1909.08593 (KL in the reward), 2403.17031 (N+: the details that made it reproduce).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.errors import Interrupted, QualityError
from ser_core.learn.compute import ranks
from ser_core.learn.policy.batches import Sequences, micro_batches, minibatches, prompts_of_step, sequences
from ser_core.learn.policy.generation import Generator, Prompt, until_end
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.ppo import arithmetic, checkpoint
from ser_core.learn.policy.ppo.critic import Critic
from ser_core.learn.policy.ppo.guards import Action, Ladder, Sign, climb, hacking_sign, worth_keeping
from ser_core.learn.policy.ppo.learner import Learners, new_learner
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.random_states import RandomStates
from ser_core.learn.policy.ppo.records import Experience, Rollout, Update, step_metrics
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.policy.ppo.state import PPOState, ScoreMoments
from ser_core.learn.policy.scorers import Scorer


class Watch(Protocol):
    """What an alignment asks and reports. Every process has its own watch; a yes from any of them is a yes for all processes."""

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, state: PPOState) -> None:
        """Keep a checkpoint. All processes call it with the same state. Its tensors are not copies: the next step changes them."""
        ...

    def stepped(self, metrics: StepMetrics) -> None:
        """One more step is done."""
        ...


@dataclass(frozen=True, slots=True)
class Alignment:
    """The end of an alignment."""

    state: PPOState
    sign: Sign | None
    """The sign of reward hacking that ended the alignment early. The policy then has the weights after step ``state.good.step`` again."""


def align(
    policy: Policy,
    critic: Critic,
    generator: Generator,
    prompts: Sequence[Prompt],
    rewards: Scorer,
    settings: Settings,
    *,
    steps: int,
    watch: Watch,
    witness: Scorer | None = None,
    resume: PPOState | None = None,
) -> Alignment:
    """Train ``policy`` and ``critic`` in place.

    Args:
        policy: The policy to align. All processes start from the weights of rank 0.
        critic: The critic; it predicts rewards.
        generator: Samples answers with the policy's current weights.
        prompts: All prompts, in any fixed order; the same in all processes.
        rewards: The reward model that the policy learns from.
        settings: Settings of PPO.
        steps: PPO steps in total, those before ``resume`` included.
        watch: Asked whether to stop between the phases of a step, but not during its updates. It hears of every step.
        witness: Another reward model that scores the same answers. The policy does not learn from it; it shows reward hacking.
        resume: A saved state to resume from.

    Raises:
        QualityError: Loss, gradient or scores were still not finite after the last roll-back.
        Interrupted: The watch asked to stop; the state after the last complete step was saved.
        SpecError: ``resume`` was written by another number of processes, or lacks a part.
    """
    learners = Learners(
        policy=new_learner(policy.trainable(), settings.policy_rate, settings.adam_epsilon),
        critic=new_learner(critic.trainable(), settings.critic_rate, settings.adam_epsilon),
    )
    loop = _Loop(policy, critic, generator, prompts, rewards, witness, settings, watch, learners)
    state = loop.resumed(resume) if resume else loop.fresh()
    while len(state.history) < steps:
        state = loop.step(state)
        watch.stepped(state.history[-1])
        if sign := hacking_sign(state.history, settings.hacking):
            learners.fall_back(state.good)
            return Alignment(loop.with_current(state), sign)
        if ranks.anywhere(watch.checkpoint_due(), loop.device):
            watch.save(state)
    return Alignment(state, None)


@dataclass(frozen=True, slots=True)
class _Loop:
    policy: Policy
    critic: Critic
    generator: Generator
    prompts: Sequence[Prompt]
    rewards: Scorer
    witness: Scorer | None
    settings: Settings
    watch: Watch
    learners: Learners

    def step(self, state: PPOState) -> PPOState:
        """One PPO step."""
        rollout = self._roll_out(state)
        began = perf_counter()
        finite = rollout.finite()
        moments = _with_scores(state.scores, rollout.scores) if finite else state.scores
        experience = self._experience(rollout, state.kl_coefficient, moments)
        if finite:
            ladder, updates = self._learn(rollout, experience, state)
        else:
            ladder, action = climb(state.ladder, finite=False, limits=self.settings.ladder)
            updates = [Update(math.nan, math.nan, math.nan, math.nan, action=action)]
        last = updates[-1].action if updates else None
        if last is Action.STOP:
            raise QualityError(
                f"PPO step {len(state.history) + 1}: scores, loss or gradient are not finite, also after {ladder.roll_backs} roll-backs",
                reason="PolicyDiverged",
                hint="lower policy.learningRate and policy.criticLearningRate, or set policy.precision to fp32",
            )
        if last is Action.ROLL_BACK:
            self.learners.fall_back(state.good)
        metrics = step_metrics(rollout, experience, updates, state, ladder, perf_counter() - began)
        score_mean = rollout.score_mean if finite else state.score_mean
        return self._next(replace(state, scores=moments, ladder=ladder, score_mean=score_mean), metrics)

    def _roll_out(self, state: PPOState) -> Rollout:
        """The rollout: sample answers to this step's prompts, and compute all that the updates need."""
        settings = self.settings
        self._stop_if_asked(state)
        # Prompts: all processes know the same order, and each takes its share.
        numbers = prompts_of_step(len(state.history), len(self.prompts), settings.answers_per_step, settings.seed)
        rows = np.arange(ranks.rank(), settings.answers_per_step, ranks.count())
        prompts = [self.prompts[number] for number in numbers[rows]]
        began = perf_counter()

        # Answers, cut after their first end token. No token is forbidden in sampling: the samples must come from the policy that learns.
        found = self.generator.generate(
            [prompt.tokens for prompt in prompts], tokens=settings.answer_tokens, temperature=settings.temperature
        )
        cut = [until_end(answer, self.policy.end_tokens) for answer in found]
        answers, ended = [answer for answer, _ in cut], [end for _, end in cut]
        generated = perf_counter()
        self._stop_if_asked(state)

        # Scores of the cut answers. They are texts, because the reward model can have another tokenizer.
        texts = [prompt.text for prompt in prompts], self.policy.texts(answers)
        scores = torch.tensor(self.rewards.scores(*texts), dtype=torch.float64, device=self.device)
        witness = torch.tensor(self.witness.scores(*texts), dtype=torch.float64, device=self.device) if self.witness else None
        mean = state.score_mean if state.score_mean is not None else arithmetic.moments(scores, scores.isfinite())[0].item()
        self._stop_if_asked(state)

        # Log-probabilities and values, always computed here: those of a generation engine differ by rounding.
        batch = sequences([prompt.tokens for prompt in prompts], answers, self.device)
        old, reference, values = (torch.zeros(batch.answer_mask.shape, device=self.device) for _ in range(3))
        with torch.no_grad():
            for members in self._micro_batches(batch):
                part = batch.rows(members)
                width = part.answer_width
                old[members, :width] = self.policy.log_probabilities(part, settings.temperature)
                reference[members, :width] = self.policy.reference_log_probabilities(part, settings.temperature)
                values[members, :width] = self.critic.values(part, mean)
        self._stop_if_asked(state)
        end = torch.tensor(ended, dtype=torch.bool, device=self.device)
        return Rollout(rows, batch, end, scores, witness, old, reference, values, mean, generated - began, perf_counter() - generated)

    def _experience(self, rollout: Rollout, kl_coefficient: float, moments: ScoreMoments) -> Experience:
        settings, mask = self.settings, rollout.batch.answer_mask
        scores = rollout.scores - rollout.score_mean
        if settings.normalise_scores:
            scores = scores / moments.deviation
        scores = scores.clamp(-settings.score_clip, settings.score_clip).float()
        scores = arithmetic.penalised(scores, rollout.ended, settings.missing_end_penalty)
        rewards = arithmetic.rewards(scores, rollout.old - rollout.reference, mask, kl_coefficient)
        advantages = arithmetic.generalised_advantages(rewards, rollout.values, settings.discount, settings.advantage_decay)
        advantages = torch.where(mask, advantages, 0.0)
        # The critic learns the returns of the advantages before whitening.
        return Experience(rewards, arithmetic.whitened(advantages, mask), advantages + rollout.values)

    def _learn(self, rollout: Rollout, experience: Experience, state: PPOState) -> tuple[Ladder, list[Update]]:
        """The updates of one step, epoch by epoch; returns the ladder after them, and what happened at each."""
        settings, ladder, step = self.settings, state.ladder, len(state.history)
        updates: list[Update] = []
        for epoch in range(settings.epochs):
            for chosen in minibatches(settings.answers_per_step, settings.minibatches, settings.seed, step, epoch):
                update = self._gradients(rollout, experience, np.isin(rollout.rows, chosen), critic_only=step < settings.critic_warm_up)
                if settings.step_kl_limit is not None and update.approximate_kl > settings.step_kl_limit:
                    return ladder, [*updates, update]
                finite = all(map(math.isfinite, (update.policy_loss, update.value_loss, update.policy_norm, update.critic_norm)))
                ladder, action = climb(ladder, finite=finite, limits=settings.ladder)
                updates.append(replace(update, action=action))
                if action is Action.PROCEED:
                    for learner in self.learners.both:
                        learner.step(ladder.rate_factor)
                elif action is not Action.SKIP:
                    return ladder, updates
        return ladder, updates

    def _gradients(self, rollout: Rollout, experience: Experience, mine: NDArray[np.bool_], *, critic_only: bool) -> Update:
        """Compute the gradients of one minibatch, summed over all processes and clipped; returns losses, ratios and norms."""
        settings = self.settings
        for learner in self.learners.both:
            learner.optimizer.zero_grad()
        rows = torch.from_numpy(np.flatnonzero(mine)).to(self.device)
        # Every sum is divided by the number of tokens in all processes, so micro-batches and processes do not change the gradient.
        tokens = ranks.total(rollout.batch.answer_mask[rows].sum()).clamp(min=1)
        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        for members in self._micro_batches(rollout.batch, rows):
            part = rollout.batch.rows(members)
            mask, width = part.answer_mask, part.answer_width
            old, advantages, returns, old_values = (
                known[members, :width] for known in (rollout.old, experience.advantages, experience.returns, rollout.values)
            )
            values = self.critic.values(part, rollout.score_mean)
            value_loss = arithmetic.value_loss(values, old_values, returns, settings.value_clip)[mask].sum() / tokens
            (settings.value_weight * value_loss).backward()
            sums[1] += value_loss.detach()
            if critic_only:
                continue
            ratio = arithmetic.log_ratio(self.policy.log_probabilities(part, settings.temperature), old, settings.largest_log_ratio)
            policy_loss = arithmetic.policy_loss(ratio, advantages, settings.ratio_clip)[mask].sum() / tokens
            policy_loss.backward()
            sums[0] += policy_loss.detach()
            sums[2:] += arithmetic.ratio_sums(ratio.detach()[mask], settings.ratio_clip) / tokens
        update = Update(*ranks.total(sums).tolist())
        policy_norm = 0.0 if critic_only else self.learners.policy.clip_gradients(settings.largest_gradient_norm)
        critic_norm = self.learners.critic.clip_gradients(settings.largest_gradient_norm)
        return replace(update, policy_norm=policy_norm, critic_norm=critic_norm)

    def _next(self, state: PPOState, metrics: StepMetrics) -> PPOState:
        """The state that the next step starts from."""
        settings, history = self.settings, (*state.history, metrics)
        coefficient = state.kl_coefficient
        if settings.kl_target is not None and math.isfinite(metrics.kl):
            coefficient = arithmetic.adapted_coefficient(
                coefficient, metrics.kl, settings.kl_target, settings.answers_per_step, settings.kl_horizon
            )
        good = self.learners.good_weights(len(history)) if worth_keeping(history, settings.hacking) else state.good
        return self.with_current(replace(state, history=history, kl_coefficient=coefficient, good=good))

    def fresh(self) -> PPOState:
        """The state before the first step: all processes have the same weights and different random states."""
        for learner in self.learners.both:
            ranks.spread(learner.weights.values())
        torch.manual_seed(int(np.random.SeedSequence([self.settings.seed, ranks.rank()]).generate_state(1)[0]))
        return PPOState(
            policy=self.learners.policy.state(),
            critic=self.learners.critic.state(),
            good=self.learners.good_weights(step=0),
            random=RandomStates.current(self.device),
            history=(),
            kl_coefficient=self.settings.kl_coefficient,
            scores=ScoreMoments(),
            ladder=Ladder(),
            score_mean=self.settings.score_mean,
        )

    def resumed(self, state: PPOState) -> PPOState:
        """Put back everything that a checkpoint holds."""
        checkpoint.refuse_if_incomplete(state, self.learners.policy.weights.keys(), self.learners.critic.weights.keys())
        state.random.restore()
        self.learners.policy.restore(state.policy)
        self.learners.critic.restore(state.critic)
        return self.with_current(state)

    def with_current(self, state: PPOState) -> PPOState:
        """The state with the current weights, optimizers and random generators."""
        random = RandomStates.current(self.device)
        return replace(state, policy=self.learners.policy.state(), critic=self.learners.critic.state(), random=random)

    @property
    def device(self) -> str:
        """Device of the networks."""
        return self.policy.precision.device

    def _micro_batches(self, batch: Sequences, rows: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Row numbers of each micro-batch."""
        rows = torch.arange(len(batch.tokens), device=self.device) if rows is None else rows
        budget = self.policy.precision.batch_tokens(self.settings.tokens_per_batch)
        return [rows[members] for members in micro_batches(batch.prompts[rows].tolist(), batch.answers[rows].tolist(), budget)]

    def _stop_if_asked(self, state: PPOState) -> None:
        if ranks.anywhere(self.watch.stopping(), self.device):
            self.watch.save(state)
            raise Interrupted(f"stopped after PPO step {len(state.history)}", hint="start it again: it resumes after that step")


def _with_scores(moments: ScoreMoments, scores: torch.Tensor) -> ScoreMoments:
    known = scores.isfinite()
    mean, variance = arithmetic.moments(scores, known)
    return moments.with_batch(int(ranks.total(known.sum())), mean.item(), variance.item())
