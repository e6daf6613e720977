"""Proximal policy optimisation (PPO) of a language model with a reward model. Read it from top to bottom.

A step: prompts → answers → scores → log-probabilities and values → rewards and advantages → updates → the next step's state.
With several processes, every process has its share of the rows, and engines keep the weights the same. Every sum and every decision is
over all processes, and all of them take the same way: they exchange pieces of weights and gradients.

Without a critic (RLOO) an answer is compared with the other answers to its prompt; the rest of the step is the same.

Sources: arXiv 1707.06347 (PPO), 1506.02438 (GAE), 1909.08593 (KL in the reward), 2403.17031 (N+: the details that made it reproduce),
2402.14740 (RLOO).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.errors import QualityError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import GATHERING, AdamSettings, stop_after
from ser_core.learn.compute.parts import learning
from ser_core.learn.policy.batches import Sequences, minibatches, prompts_of_step, sequences
from ser_core.learn.policy.generation import Generator, Prompt, until_end
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.ppo import arithmetic, checkpoint, random_states
from ser_core.learn.policy.ppo.critic import Critic
from ser_core.learn.policy.ppo.guards import Action, Ladder, Sign, climb, hacking_sign, worth_keeping
from ser_core.learn.policy.ppo.learner import HowToLearn, Learner, Learners
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.random_states import RandomStates
from ser_core.learn.policy.ppo.records import Experience, Rollout, Update, step_metrics
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.policy.ppo.state import PPOState, SavedState
from ser_core.learn.policy.scorers import Scorer
from ser_core.learn.reward.batching import micro_batches
from ser_core.memory.activations import MicroBatch
from ser_core.memory.training import UNSHARDED, Sharding


class Watch(Protocol):
    """What an alignment asks and reports. Every process has its own watch; a yes from any of them is a yes for all processes."""

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, saved: SavedState) -> None:
        """Keep a checkpoint. All processes call it, each with what it owns. Tensors are no copies: the next step changes them."""
        ...

    def silent(self, phase: str) -> None:
        """A phase begins that takes no steps and can last long."""
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
    critic: Critic | None,
    generator: Generator,
    prompts: Sequence[Prompt],
    rewards: Scorer,
    settings: Settings,
    *,
    steps: int,
    watch: Watch,
    witness: Scorer | None = None,
    resume: SavedState | None = None,
    sharding: Sharding = UNSHARDED,
) -> Alignment:
    """Train ``policy`` and ``critic`` in place. At the end the policy's network is a plain one; the critic is of no more use.

    Args:
        policy: The policy to align. All processes start from the weights of rank 0.
        critic: It predicts rewards; None with ``rloo``.
        generator: Samples answers with the policy's current weights.
        prompts: All prompts, in any fixed order; the same in all processes.
        rewards: The reward model that the policy learns from.
        settings: Settings of PPO.
        steps: PPO steps in total, those before ``resume`` included.
        watch: Asked whether to stop between the phases of a step, but not during its updates. It hears of every step.
        witness: Another reward model that scores the same answers. The policy does not learn from it; it shows reward hacking.
        resume: A saved state to resume from; any number of processes may have written it.
        sharding: How several processes share what policy and critic hold.

    Raises:
        QualityError: Loss, gradient or scores were still not finite after the last roll-back.
        Interrupted: The watch asked to stop; the state after the last complete step was saved.
        SpecError: ``resume`` lacks a part.
    """
    networks = [trained.network for trained in (policy, critic) if trained is not None]
    if resume is not None:
        checkpoint.refuse_if_incomplete(resume, *(learning(network).keys() for network in networks))
    longest = max(len(prompt.tokens) for prompt in prompts) + settings.answer_tokens
    budget = max(longest, policy.precision.batch_tokens(settings.tokens_per_batch))
    adam = AdamSettings(settings.adam_epsilon, settings.largest_gradient_norm)
    how = HowToLearn(adam, sharding, policy.precision, MicroBatch(budget, longest, policy.precision.autocast is not None))
    learners = Learners(
        policy=Learner(policy.network, settings.policy_rate, how, resume.policy if resume else None),
        critic=Learner(critic.network, settings.critic_rate, how, resume.critic if resume else None) if critic else None,
    )
    loop = _Loop(policy, critic, generator, prompts, rewards, witness, settings, watch, learners)
    state = loop.resumed(resume.state) if resume else loop.fresh()
    while len(state.history) < steps:
        state = loop.step(state)
        watch.stepped(state.history[-1])
        if sign := hacking_sign(state.history, settings.hacking):
            learners.policy.engine.put_back(state.good.policy)
            learners.end()
            return Alignment(state, sign)
        if ranks.anywhere(watch.checkpoint_due(), loop.device):
            loop.save(state)
    watch.silent(GATHERING)
    learners.end()
    return Alignment(state, None)


@dataclass(frozen=True, slots=True)
class _Loop:
    plain_policy: Policy
    plain_critic: Critic | None
    generator: Generator
    prompts: Sequence[Prompt]
    rewards: Scorer
    witness: Scorer | None
    settings: Settings
    watch: Watch
    learners: Learners

    @property
    def policy(self) -> Policy:
        """The policy as its engine computes it."""
        return replace(self.plain_policy, network=self.learners.policy.engine.network)

    @property
    def critic(self) -> Critic | None:
        """The critic as its engine computes it."""
        if self.plain_critic is None or self.learners.critic is None:
            return None
        return replace(self.plain_critic, network=self.learners.critic.engine.network)

    def step(self, state: PPOState) -> PPOState:
        """One PPO step."""
        rollout = self._roll_out(state)
        began = perf_counter()
        finite = rollout.finite()
        experience = self._experience(rollout, state.kl_coefficient)
        if finite:
            ladder, updates = self._learn(rollout, experience, state)
        else:
            ladder, action = climb(state.ladder, finite=False, limits=self.settings.ladder)
            updates = [Update(action=action)]
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
        return self._next(replace(state, ladder=ladder, score_mean=score_mean), metrics)

    def _roll_out(self, state: PPOState) -> Rollout:
        """The rollout: sample answers to this step's prompts, and compute all that the updates need."""
        self._stop_if_asked(state)
        rows, prompts = self._prompts_of(len(state.history))
        began = perf_counter()
        answers, ended = self._sampled(prompts)
        generated = perf_counter()
        self._stop_if_asked(state)
        scores, witness = self._scored(prompts, answers)
        mean = state.score_mean if state.score_mean is not None else arithmetic.moments(scores, scores.isfinite())[0].item()
        self._stop_if_asked(state)
        batch = sequences([prompt.tokens for prompt in prompts], answers, self.device)
        old, reference, values = self._log_probabilities(batch, mean)
        self._stop_if_asked(state)
        return Rollout(rows, batch, ended, scores, witness, old, reference, values, mean, generated - began, perf_counter() - generated)

    def _prompts_of(self, step: int) -> tuple[NDArray[np.int64], list[Prompt]]:
        """This process's rows and their prompts: all processes know the same order, and each takes its share."""
        settings = self.settings
        different = settings.answers_per_step // settings.answers_per_prompt
        numbers = prompts_of_step(step, len(self.prompts), different, settings.seed).repeat(settings.answers_per_prompt)
        rows = np.arange(ranks.rank(), settings.answers_per_step, ranks.count())
        return rows, [self.prompts[number] for number in numbers[rows]]

    def _sampled(self, prompts: Sequence[Prompt]) -> tuple[list[list[int]], torch.Tensor]:
        """Answers, cut after their first end token, and whether they have one.

        No token is forbidden in sampling: the samples must come from the policy that learns.
        """
        tokens, temperature = self.settings.answer_tokens, self.settings.temperature
        found = self.generator.generate([prompt.tokens for prompt in prompts], tokens=tokens, temperature=temperature)
        cut = [until_end(answer, self.policy.end_tokens) for answer in found]
        return [answer for answer, _ in cut], torch.tensor([end for _, end in cut], dtype=torch.bool, device=self.device)

    def _scored(self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Scores of the cut answers, and the witness's. They are texts, because the reward model can have another tokenizer."""
        texts = [prompt.text for prompt in prompts], self.policy.texts(answers)
        scores = torch.tensor(self.rewards.scores(*texts), dtype=torch.float64, device=self.device)
        return scores, torch.tensor(self.witness.scores(*texts), dtype=torch.float64, device=self.device) if self.witness else None

    def _log_probabilities(self, batch: Sequences, score_mean: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The policy's and the reference policy's, and the critic's values. Always computed: those of a generation engine differ by
        rounding."""
        policy, critic, temperature = self.policy, self.critic, self.settings.temperature
        old, reference, values = (torch.zeros(batch.answer_mask.shape, device=self.device) for _ in range(3))
        with torch.no_grad():
            for members, part in self._micro_batches(batch):
                width, rows_here = part.answer_width, len(members)
                old[members, :width] = policy.log_probabilities(part, temperature)[:rows_here]
                if critic is not None:
                    values[members, :width] = critic.values(part, score_mean)[:rows_here]
            with policy.reference_at_hand():
                for members, part in self._micro_batches(batch):
                    log_probabilities = policy.reference_log_probabilities(part, temperature)
                    reference[members, : part.answer_width] = log_probabilities[: len(members)]
        for learner in self.learners.all:
            learner.engine.rest()
        return old, reference, values if critic else None

    def _experience(self, rollout: Rollout, kl_coefficient: float) -> Experience:
        settings, mask = self.settings, rollout.batch.answer_mask
        scores = (rollout.scores - rollout.score_mean).clamp(-settings.score_clip, settings.score_clip).float()
        scores = arithmetic.penalised(scores, rollout.ended, settings.missing_end_penalty)
        rewards = arithmetic.rewards(scores, rollout.old - rollout.reference, mask, kl_coefficient)
        if rollout.values is None:
            # Without a critic: what the answer earned, less what the others to its prompt earned; the same for all of its tokens.
            totals = rewards.sum(-1)
            compared = arithmetic.leave_one_out(totals, rollout.rows, settings.answers_per_step, settings.answers_per_prompt)
            return Experience(rewards, torch.where(mask, compared.unsqueeze(-1), 0.0), None)
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
                mine, critic_only = np.isin(rollout.rows, chosen), step < settings.critic_warm_up
                update = self._update(rollout, experience, mine, ladder.rate_factor, critic_only=critic_only)
                if self._too_far(update):
                    return ladder, [*updates, update]
                ladder, action = climb(ladder, finite=update.finite, limits=settings.ladder)
                updates.append(replace(update, action=action))
                if action in {Action.ROLL_BACK, Action.STOP}:
                    return ladder, updates
        return ladder, updates

    def _update(
        self, rollout: Rollout, experience: Experience, mine: NDArray[np.bool_], rate_factor: float, *, critic_only: bool
    ) -> Update:
        """One optimizer step with the rows ``mine`` of all processes. What is not finite, or leads too far, changes no weight."""
        settings, policy, critic = self.settings, self.learners.policy.engine, self.learners.critic
        for learner in self.learners.all:
            learner.engine.start_step()
        rows = torch.from_numpy(np.flatnonzero(mine)).to(self.device)
        # Every sum is divided by the number of tokens in all processes, so micro-batches and processes do not change the gradient.
        tokens = ranks.total(rollout.batch.answer_mask[rows].sum()).clamp(min=1)
        of_policy, of_critic = (torch.zeros(size, dtype=torch.float64, device=self.device) for size in (3, 1))
        micro_batches = self._micro_batches(rollout.batch, rows)
        for number, (members, part) in enumerate(micro_batches):
            last = number == len(micro_batches) - 1
            if not critic_only:
                loss, ratios = self._policy_loss(rollout, experience, members, part, tokens)
                of_policy += torch.cat([loss.detach().double().unsqueeze(0), ratios])
                policy.backward(loss, last=last)
            if critic is not None:
                loss = self._value_loss(rollout, experience, members, part, tokens)
                of_critic += loss.detach()
                critic.engine.backward(settings.value_weight * loss, last=last)
        update = Update(*ranks.total(torch.cat([of_policy, of_critic])).tolist())
        if self._too_far(update):
            for learner in self.learners.all:
                learner.engine.start_step()  # which forgets the gradients
            return update
        policy_norm = 0.0 if critic_only else self.learners.policy.step(rate_factor)
        critic_norm = 0.0 if critic is None else critic.step(rate_factor)
        return replace(update, policy_norm=policy_norm, critic_norm=critic_norm)

    def _policy_loss(
        self, rollout: Rollout, experience: Experience, members: torch.Tensor, part: Sequences, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums over the tokens of a micro-batch, divided by ``tokens``: the loss, and `arithmetic.ratio_sums`."""
        settings, width = self.settings, part.answer_width
        mask, old, advantages = (known[members, :width] for known in (rollout.batch.answer_mask, rollout.old, experience.advantages))
        new = self.policy.log_probabilities(part, settings.temperature)
        ratio = arithmetic.log_ratio(new, old, settings.largest_log_ratio)
        loss = arithmetic.policy_loss(ratio, advantages, settings.ratio_clip)[mask].sum() / tokens
        return loss, arithmetic.ratio_sums(ratio.detach()[mask], settings.ratio_clip) / tokens

    def _value_loss(
        self, rollout: Rollout, experience: Experience, members: torch.Tensor, part: Sequences, tokens: torch.Tensor
    ) -> torch.Tensor:
        """The critic's loss, summed over the tokens of a micro-batch and divided by ``tokens``."""
        critic, width = self.critic, part.answer_width
        assert critic is not None
        assert rollout.values is not None
        assert experience.returns is not None
        mask, old, returns = (known[members, :width] for known in (rollout.batch.answer_mask, rollout.values, experience.returns))
        values = critic.values(part, rollout.score_mean)
        return arithmetic.value_loss(values, old, returns, self.settings.value_clip)[mask].sum() / tokens

    def _too_far(self, update: Update) -> bool:
        return self.settings.step_kl_limit is not None and update.approximate_kl > self.settings.step_kl_limit

    def _next(self, state: PPOState, metrics: StepMetrics) -> PPOState:
        """The state that the next step starts from."""
        settings, history = self.settings, (*state.history, metrics)
        coefficient = state.kl_coefficient
        may_move = len(state.history) >= settings.critic_warm_up
        if settings.kl_target is not None and may_move and math.isfinite(metrics.kl):
            coefficient = arithmetic.adapted_coefficient(
                coefficient, metrics.kl, settings.kl_target, settings.answers_per_step, settings.kl_horizon
            )
        good = self.learners.good_weights(len(history)) if worth_keeping(history, settings.hacking) else state.good
        random = RandomStates.current(self.device)
        return replace(state, history=history, kl_coefficient=coefficient, good=good, random=random)

    def fresh(self) -> PPOState:
        """The state before the first step: all processes have the same weights and different random states."""
        random_states.begin(self.settings.seed)
        return PPOState(
            good=self.learners.good_weights(step=0),
            random=RandomStates.current(self.device),
            history=(),
            kl_coefficient=self.settings.kl_coefficient,
            ladder=Ladder(),
            score_mean=self.settings.score_mean,
        )

    def resumed(self, state: PPOState) -> PPOState:
        """The state of a checkpoint, whose weights the engines have already."""
        state.random.restore(self.settings.seed, len(state.history))
        return replace(state, good=self.learners.own(state.good), random=RandomStates.current(self.device))

    def save(self, state: PPOState) -> None:
        """Keep a checkpoint."""
        self.watch.silent(GATHERING)
        self.watch.save(self.learners.saved(state))

    @property
    def device(self) -> str:
        """Device of the networks."""
        return self.policy.precision.device

    def _micro_batches(self, batch: Sequences, rows: torch.Tensor | None = None) -> list[tuple[torch.Tensor, Sequences]]:
        """Row numbers and content of each micro-batch. All processes have equally many; one without row numbers fills up."""
        rows = torch.arange(len(batch.tokens), device=self.device) if rows is None else rows
        budget = self.plain_policy.precision.batch_tokens(self.settings.tokens_per_batch)
        lengths = (batch.prompts[rows] + batch.answers[rows]).tolist()
        chosen = [rows[members] for members in micro_batches(lengths, budget, rows=1)]
        most = ranks.most(len(chosen), self.device)
        idle = rows[:0], sequences([[0]], [[]], self.device)
        return [(members, batch.rows(members)) for members in chosen] + [idle] * (most - len(chosen))

    def _stop_if_asked(self, state: PPOState) -> None:
        if ranks.anywhere(self.watch.stopping(), self.device):
            stop_after(partial(self.save, state), self.device, f"PPO step {len(state.history)}")
