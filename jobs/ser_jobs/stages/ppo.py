"""The stage `ppo`: align the policy with the best reward model, and evaluate it before and after on held-out prompts."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from ser_core.api.spec.policy import PolicySpec
from ser_core.api.stage import InputRole, PolicyMetrics
from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.data.tables import PolicyStep, write_table
from ser_core.learn.compute.pieces import cut_layers
from ser_core.learn.compute.precision import Precision, detect, narrow_frozen
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.compute.whole_copy import WholeCopy
from ser_core.learn.policy.alignment import Answer, answer_all, change, summary
from ser_core.learn.policy.generation import CopyGenerator, Generator, Prompt, TransformersGenerator, encode_prompts
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.policy.ppo.critic import Critic, make_critic
from ser_core.learn.policy.ppo.guards import why_alike
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.ppo import Alignment, align
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.policy.ppo.trunk import share_trunk
from ser_core.learn.policy.scorers import RewardModelScorer
from ser_core.learn.policy.unread import unread_in
from ser_core.learn.policy.vllm_generation import VllmGenerator
from ser_core.learn.reward.reward_model import load
from ser_core.memory.alignment import ROWS_IN_PIECES, ROWS_TOGETHER
from ser_core.memory.training import UNSHARDED
from ser_core.store.stages.model_folder import MODEL
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.training.computing import set_up
from ser_jobs.training.memory_check import refuse_what_does_not_fit
from ser_jobs.training.model_output import base_files, model_files
from ser_jobs.training.policy.policy_inputs import heldout_prompts, policy_spec, start_of_policy, starting_policy, training_prompts
from ser_jobs.training.policy.policy_progress import PolicyProgress

_WARM_UP = 20
"""A new critic learns alone in the first PPO steps: in one of so many, rounded up, but never in the last."""


def body(context: StageContext) -> StageOutput | None:
    """Write the aligned policy, a row for every PPO step, and the policy's answers before and after.

    All processes share every step. Each evaluates the policy by itself, since models that are cut into pieces are whole only together. Rank
    0 returns the output; the other ranks return None.

    Raises:
        DataError: A prompt has no tokens, or there is no held-out prompt.
        SpecError: The policy cannot be loaded.
        QualityError: Loss, gradient or scores were still not finite after the last roll-back.
        Interrupted: The stage was asked to stop; a checkpoint was saved.
    """
    precision = set_up(context, policy_spec(context).precision)
    with process_group():
        return _Ppo(context, precision).run()


class _Ppo:
    """One alignment, from its inputs to its outputs. `run` has its steps, one after the other."""

    def __init__(self, context: StageContext, precision: Precision) -> None:
        self._context = context
        self._spec = policy_spec(context)
        self._training = context.spec.spec.training
        self._precision = precision
        context.silent("loading the models")
        start = starting_policy(context)
        models = {"reward": context.fetch_folder(InputRole.BEST, MODEL), "policy": start}
        plan = refuse_what_does_not_fit(context, models)
        self._sharding = plan.sharding if plan and plan.sharding else UNSHARDED
        self._in_pieces = self._sharding.pieces
        """Whether layers are never whole together: those that do not learn, or all."""
        self._cut = self._sharding.stage == 3 and not self._in_pieces
        """Whether models that do not learn are cut into pieces too; each is whole while it computes."""
        self._offload = self._sharding.offload and not self._in_pieces
        """Whether these are in main memory while they do not compute."""
        self._start = start
        self._rewards = self._scorer(InputRole.BEST)
        self._witness = self._scorer(InputRole.WITNESS) if InputRole.WITNESS in context.inputs else None
        self._policy = load_policy(
            start,
            precision,
            adapter=self._spec.adapter,
            seed=self._training.seed,
            cut=self._cut,
            offload=self._offload,
            in_pieces=self._in_pieces,
            template=self._spec.template,
            template_text=self._spec.custom_text,
        )
        self._generator = self._make_generator(start)
        self._prompts = self._encoded(training_prompts(context))
        self._heldout_prompts = self._encoded(heldout_prompts(context))

    def run(self) -> StageOutput | None:
        """Evaluate, align, evaluate again, export."""
        context = self._context
        progress = PolicyProgress(context, self._spec.steps, self._precision.device)
        if not progress.baseline:
            progress.baseline = self._answers()
        critic, critic_note = self._make_critic()
        alignment = align(
            self._policy,
            critic,
            self._generator,
            self._prompts,
            self._rewards,
            settings_of(
                self._spec,
                tokens_per_batch=self._context.tokens_per_batch,
                seed=self._training.seed,
                new_critic=critic is not None and not critic.from_reward_model,
            ),
            steps=self._spec.steps,
            watch=progress,
            witness=self._witness,
            resume=progress.saved,
            sharding=self._sharding,
        )
        made_of = "" if critic is None else "rewardModel" if critic.from_reward_model else "policy"
        del critic
        if context.rank == 0 and alignment.sign is not None:
            context.reporter.event("stopped", reason=alignment.sign.reason, message=alignment.sign.message)
        after = self._answers()
        context.silent("writing the policy")
        self._policy.store(context.workdir / MODEL, base=self._start)
        progress.finish()
        if context.rank > 0:
            return None
        return StageOutput(
            _write(context.workdir, alignment.state.history, progress.baseline, after),
            self._metrics(alignment, progress.baseline, after, made_of, critic_note),
            base_files(context, *start_of_policy(context)),
        )

    def _make_critic(self) -> tuple[Critic | None, str]:
        """The critic, and a sentence that says where it starts; None with `rloo`. It is made once the policy is evaluated: both together
        with what the evaluation needs may not fit."""
        if self._spec.advantage == "rloo":
            return None, ""
        best = self._context.fetch_folder(InputRole.BEST, MODEL)
        vocabulary = self._policy.tokenizer.get_vocab()
        beside = self._policy.network if self._in_pieces else None
        critic, why = make_critic(
            best, self._start, self._precision, vocabulary, adapter=self._spec.adapter, seed=self._training.seed, beside=beside
        )
        self._context.reporter.event("critic", note=why)
        if self._spec.adapter is not None and not self._cut and not self._in_pieces:
            share_trunk(self._policy, critic, self._start)
        if not self._in_pieces:
            narrow_frozen(critic.network, self._precision)
        return critic, why

    def _make_generator(self, start: Path) -> Generator:
        policy, spec = self._policy, self._spec
        if spec.generator == "vllm":
            return VllmGenerator(policy, start, tokens=spec.row_tokens)
        pad = policy.tokenizer.pad_token_id
        copy = WholeCopy(policy.network, self._precision) if self._cut else None
        generator = TransformersGenerator(
            policy.network if copy is None else copy.network,
            pad_token=policy.end_tokens[0] if pad is None else pad,
            end_tokens=policy.end_tokens,
            device=self._precision.device,
            autocast=self._precision.autocast,
            rows=ROWS_IN_PIECES if self._in_pieces else ROWS_TOGETHER,
        )
        return generator if copy is None else CopyGenerator(copy, generator)

    def _scorer(self, role: InputRole) -> RewardModelScorer:
        settings = self._context.spec.spec.reward_model
        folder = self._context.fetch_folder(role, MODEL)
        precision = detect(settings.precision)
        model = load(folder, precision, max_length=settings.max_length, frozen=True, together=True)
        if self._in_pieces:
            cut_layers(model.network, precision.device)
        return RewardModelScorer(model, self._context.tokens_per_batch, cut=self._cut, offload=self._offload)

    def _encoded(self, texts: Sequence[str]) -> list[Prompt]:
        return encode_prompts(self._policy.tokenizer, texts, tokens=self._spec.prompt_tokens)

    def _answers(self) -> list[Answer]:
        self._context.silent("evaluating the policy")
        return answer_all(
            self._policy,
            self._generator,
            self._heldout_prompts,
            self._rewards,
            self._witness,
            tokens=self._spec.answer_tokens,
            temperature=self._spec.temperature,
            tokens_per_batch=self._context.tokens_per_batch,
            seed=self._training.seed,
        )

    def _metrics(
        self, alignment: Alignment, before: Sequence[Answer], after: Sequence[Answer], critic: str, critic_note: str
    ) -> PolicyMetrics:
        steps, sign = len(alignment.state.history), alignment.sign
        low, high = change(before, after)
        first, last = summary(before), summary(after)
        alike = why_alike(first, last)
        narrow = (self._precision.note or "").replace("rewardModel", "policy")
        notes = [sign.message if sign else "", alike, self._cut_note(after), narrow, critic_note]
        return PolicyMetrics(
            steps=steps,
            kept_step=alignment.state.good.step if sign else steps,
            prompts=len(self._prompts),
            heldout_prompts=len(self._heldout_prompts),
            before=first,
            after=last,
            change_low=low,
            change_high=high,
            critic=critic,
            stopped=sign.reason if sign else "",
            notes=tuple(note for note in notes if note),
        )

    def _cut_note(self, answers: Sequence[Answer]) -> str:
        cut = self._rewards.cut([answer.prompt for answer in answers], [answer.text for answer in answers])
        return unread_in(cut, len(answers), self._context.spec.spec.reward_model.max_length)


def settings_of(spec: PolicySpec, *, tokens_per_batch: int, seed: int, new_critic: bool) -> Settings:
    """The settings of PPO that the run's spec asks for. A new critic learns alone in the first steps."""
    return Settings(
        answers_per_step=spec.rollouts_per_step,
        answers_per_prompt=spec.answers_per_prompt,
        advantage=spec.advantage,
        answer_tokens=spec.answer_tokens,
        temperature=spec.temperature,
        missing_end_penalty=spec.missing_end_penalty,
        kl_coefficient=spec.kl.coefficient,
        kl_target=spec.kl.target,
        epochs=spec.epochs,
        minibatches=spec.minibatches,
        tokens_per_batch=tokens_per_batch,
        policy_rate=spec.learning_rate,
        critic_rate=spec.critic_learning_rate,
        critic_warm_up=min(-(-spec.steps // _WARM_UP), spec.steps - 1) if new_critic else 0,
        seed=seed,
    )


def _write(folder: Path, history: Sequence[StepMetrics], before: Sequence[Answer], after: Sequence[Answer]) -> dict[str, Path]:
    files = {name: folder / name for name in ("ppo.parquet", "answers.jsonl")}
    write_table(files["ppo.parquet"], PolicyStep, map(_row, history))
    rows = [
        {"prompt": unmarked(old.prompt), "before": _without_prompt(old), "after": _without_prompt(new)}
        for old, new in zip(before, after, strict=True)
    ]
    files["answers.jsonl"].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return files | model_files(folder)


def _row(metrics: StepMetrics) -> PolicyStep:
    return PolicyStep(**{field.name: getattr(metrics, field.name) for field in dataclasses.fields(PolicyStep)})


def _without_prompt(answer: Answer) -> dict[str, object]:
    return {name: getattr(answer, name) for name in ("text", "score", "witness_score", "kl", "tokens", "ended")}
