"""Proximal policy optimisation of a language model against a reward model. Read it from top to bottom.

A step: prompts → answers → scores → log-probabilities and values → rewards and advantages → updates → what the next step starts from.
With several processes each has its share of the rows and all have the same weights; every sum and every decision is over all of them.

Sources: arXiv 1707.06347 (PPO), 1506.02438 (GAE), 1909.08593 (KL in the reward), 2403.17031 (N+: the details that made it reproduce).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import clip_grad_norm_

from ser_core.errors import Interrupted, QualityError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import set_rate
from ser_core.learn.policy.batches import Sequences, micro_batches, minibatches, prompts_of_step, sequences
from ser_core.learn.policy.generation import Generator, Prompt, until_end
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.ppo import arithmetic
from ser_core.learn.policy.ppo.critic import Critic
from ser_core.learn.policy.ppo.guards import Action, Ladder, Sign, climb, hacking_sign, worth_keeping
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.records import Experience, Rollout, Update, step_metrics
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.policy.ppo.state import (
    Learner,
    PPOState,
    ScoreMoments,
    fall_back,
    kept_weights,
    learner_tensors,
    random_tensors,
    restore_learners,
    restore_random,
)
from ser_core.learn.policy.scorers import Scorer


class Watch(Protocol):
    """Who watches an alignment. Each process has one; what any of them answers holds for all."""

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, state: PPOState) -> None:
        """Keep a checkpoint. Every process is called with the same state, whose tensors change when the training goes on."""
        ...

    def stepped(self, metrics: StepMetrics) -> None:
        """One more step is done."""
        ...


@dataclass(frozen=True, slots=True)
class Alignment:
    """How an alignment ended."""

    state: PPOState
    sign: Sign | None
    """The sign of reward hacking that ended it before its last step. The policy is then the one after step ``state.good_step`` again."""


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
    heldout: Scorer | None = None,
    resume: PPOState | None = None,
) -> Alignment:
    """Train ``policy`` and ``critic`` in place.

    Args:
        policy: What is aligned. All processes start from the first one's weights.
        critic: Predicts the rewards to come.
        generator: Answers with the policy's present weights.
        prompts: All of them, in any fixed order, the same in all processes.
        rewards: The policy learns from its scores.
        settings: Of PPO.
        steps: PPO steps to take, those before ``resume`` included.
        watch: Asked to stop before a step and before its updates, which once begun are finished; told after every step.
        heldout: Scores the same answers, only to see whether the policy games ``rewards``.
        resume: A state that was saved, to go on from.

    Raises:
        QualityError: Loss, gradient or scores were not finite again and again.
        Interrupted: The watch asked to stop; the state after the last whole step was saved.
        SpecError: ``resume`` was written by another number of processes, or lacks a part.
    """
    learners = {
        "policy": _learner(policy.trainable(), settings.policy_rate, settings),
        "critic": _learner(critic.trainable(), settings.critic_rate, settings),
    }
    loop = _Loop(policy, critic, generator, prompts, rewards, heldout, settings, watch, learners)
    state = loop.resumed(resume) if resume else loop.fresh()
    while len(state.history) < steps:
        state = loop.step(state)
        watch.stepped(state.history[-1])
        if sign := hacking_sign(state.history, settings.hacking):
            fall_back(learners, state.tensors)
            return Alignment(replace(state, tensors=loop.tensors(state)), sign)
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
    heldout: Scorer | None
    settings: Settings
    watch: Watch
    learners: Mapping[str, Learner]

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
                hint="lower the learning rates of policy and critic, or compute in fp32",
            )
        if last is Action.ROLL_BACK:
            fall_back(self.learners, state.tensors)
        metrics = step_metrics(rollout, experience, updates, state, ladder, perf_counter() - began)
        score_mean = rollout.score_mean if finite else state.score_mean
        return self._next(replace(state, scores=moments, ladder=ladder, score_mean=score_mean), metrics)

    def _roll_out(self, state: PPOState) -> Rollout:
        """Answer this step's prompts and find out all that the updates need."""
        settings = self.settings
        self._stop_if_asked(state)
        # Prompts: the same order in all processes; each takes its share.
        numbers = prompts_of_step(len(state.history), len(self.prompts), settings.rollouts_per_step, settings.seed)
        rows = np.arange(ranks.rank(), settings.rollouts_per_step, ranks.count())
        prompts = [self.prompts[number] for number in numbers[rows]]
        began = perf_counter()

        # Answers, cut at their first end token. While they are sampled no token is forbidden, else another policy would have answered.
        found = self.generator.generate(
            [prompt.tokens for prompt in prompts], tokens=settings.answer_tokens, temperature=settings.temperature
        )
        cut = [until_end(answer, self.policy.end_tokens) for answer in found]
        answers, ended = [answer for answer, _ in cut], [end for _, end in cut]
        generated = perf_counter()
        self._stop_if_asked(state)

        # Scores, of the text that was cut. It is tokenised anew: the reward model may have another tokenizer.
        texts = [prompt.text for prompt in prompts], self.policy.texts(answers)
        scores = torch.tensor(self.rewards.scores(*texts), dtype=torch.float64, device=self.device)
        heldout = torch.tensor(self.heldout.scores(*texts), dtype=torch.float64, device=self.device) if self.heldout else None
        mean = state.score_mean if state.score_mean is not None else arithmetic.moments(scores, scores.isfinite())[0].item()
        self._stop_if_asked(state)

        # Log-probabilities and values by the trainer's own arithmetic, whoever generated: an engine's would differ from them.
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
        return Rollout(rows, batch, end, scores, heldout, old, reference, values, mean, generated - began, perf_counter() - generated)

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
        # The critic learns true returns: they are formed before the advantages are whitened.
        return Experience(rewards, arithmetic.whitened(advantages, mask), advantages + rollout.values)

    def _learn(self, rollout: Rollout, experience: Experience, state: PPOState) -> tuple[Ladder, list[Update]]:
        """All passes over the step's answers, and the ladder after them."""
        settings, ladder, step = self.settings, state.ladder, len(state.history)
        updates: list[Update] = []
        for epoch in range(settings.epochs):
            for chosen in minibatches(settings.rollouts_per_step, settings.minibatches, settings.seed, step, epoch):
                update = self._gradients(rollout, experience, np.isin(rollout.rows, chosen), critic_only=step < settings.critic_warm_up)
                if settings.step_kl_limit is not None and update.approximate_kl > settings.step_kl_limit:
                    return ladder, [*updates, update]
                finite = all(map(math.isfinite, (update.policy_loss, update.value_loss, update.policy_norm, update.critic_norm)))
                ladder, action = climb(ladder, finite=finite, limits=settings.ladder)
                updates.append(replace(update, action=action))
                if action is Action.PROCEED:
                    self._move(ladder.rate_factor)
                elif action is not Action.SKIP:
                    return ladder, updates
        return ladder, updates

    def _gradients(self, rollout: Rollout, experience: Experience, mine: NDArray[np.bool_], *, critic_only: bool) -> Update:
        """Gradients of one minibatch, summed over all processes and clipped, and what was seen on the way."""
        settings = self.settings
        for _, optimizer in self.learners.values():
            optimizer.zero_grad()
        rows = torch.from_numpy(np.flatnonzero(mine)).to(self.device)
        # Sums over tokens, divided by their number in all processes: cutting rows into micro-batches or over processes changes nothing.
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
        return self._clipped(Update(*ranks.total(sums).tolist()), critic_only=critic_only)

    def _clipped(self, update: Update, *, critic_only: bool) -> Update:
        """Sum the gradients over the processes and clip them; those of policy and critic apart."""
        norms = {"policy": 0.0, "critic": 0.0}
        for owner, (weights, _) in self.learners.items():
            if owner == "policy" and critic_only:
                continue
            ranks.sum_gradients(weights.values())
            norms[owner] = clip_grad_norm_(weights.values(), self.settings.largest_gradient_norm).item()
        return replace(update, policy_norm=norms["policy"], critic_norm=norms["critic"])

    def _move(self, rate_factor: float) -> None:
        rates = {"policy": self.settings.policy_rate, "critic": self.settings.critic_rate}
        for owner, (_, optimizer) in self.learners.items():
            set_rate(optimizer, rate_factor * rates[owner])
            optimizer.step()

    def _next(self, state: PPOState, metrics: StepMetrics) -> PPOState:
        """What the next step starts from."""
        settings, history = self.settings, (*state.history, metrics)
        coefficient = state.kl_coefficient
        if settings.kl_target is not None and math.isfinite(metrics.kl):
            coefficient = arithmetic.adapted_coefficient(
                coefficient, metrics.kl, settings.kl_target, settings.rollouts_per_step, settings.kl_horizon
            )
        kept, good_step = state.tensors, state.good_step
        if worth_keeping(history, settings.hacking):
            kept, good_step = kept_weights(self.learners), len(history)
        following = replace(state, tensors=kept, history=history, kl_coefficient=coefficient, good_step=good_step)
        return replace(following, tensors=self.tensors(following))

    def fresh(self) -> PPOState:
        """The state before the first step: all processes have the same weights, and each samples other answers."""
        for weights, _ in self.learners.values():
            ranks.spread(weights.values())
        torch.manual_seed(int(np.random.SeedSequence([self.settings.seed, ranks.rank()]).generate_state(1)[0]))
        first = PPOState(
            kept_weights(self.learners), (), self.settings.kl_coefficient, ScoreMoments(), Ladder(), self.settings.score_mean, good_step=0
        )
        return replace(first, tensors=self.tensors(first))

    def resumed(self, state: PPOState) -> PPOState:
        """Put everything back that a checkpoint holds."""
        restore_random(state.tensors)
        restore_learners(self.learners, state.tensors)
        return replace(state, tensors=self.tensors(state))

    def tensors(self, state: PPOState) -> dict[str, torch.Tensor]:
        """Live weights, moments and random generators, and the kept weights of ``state``."""
        good = {name: tensor for name, tensor in state.tensors.items() if name.startswith("good/")}
        return learner_tensors(self.learners) | random_tensors(self.device) | good

    @property
    def device(self) -> str:
        """Where the models are."""
        return self.policy.precision.device

    def _micro_batches(self, batch: Sequences, rows: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Row numbers of each micro-batch."""
        rows = torch.arange(len(batch.tokens), device=self.device) if rows is None else rows
        budget = self.policy.precision.batch_tokens(self.settings.tokens_per_batch)
        return [rows[members] for members in micro_batches(batch.prompts[rows].tolist(), batch.answers[rows].tolist(), budget)]

    def _stop_if_asked(self, state: PPOState) -> None:
        if ranks.anywhere(self.watch.stopping(), self.device):
            self.watch.save(state)
            raise Interrupted(f"stopped after PPO step {len(state.history)}", hint="start it again to go on from there")


def _learner(weights: Iterable[tuple[str, nn.Parameter]], rate: float, settings: Settings) -> Learner:
    named = dict(weights)
    return named, torch.optim.AdamW(named.values(), lr=rate, eps=settings.adam_epsilon, weight_decay=0.0, fused=True)


def _with_scores(moments: ScoreMoments, scores: torch.Tensor) -> ScoreMoments:
    known = scores.isfinite()
    mean, variance = arithmetic.moments(scores, known)
    return moments.with_batch(int(ranks.total(known.sum())), mean.item(), variance.item())
