"""Supervised fine-tuning of a policy by TRL: the loss of an answer's tokens alone, after the prompt that PPO will ask with.

Rows are tokenised here and not by TRL, so that prompt, answer and end token are those that the policy meets again in PPO.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from ser_core.api.adapter import AdapterSpec
from ser_core.api.policy import SupervisedSpec
from ser_core.errors import DataError, Interrupted, QualityError, SpecError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.adapters import lora
from ser_core.learn.compute.precision import Precision
from ser_core.learn.compute.pretrained import FROM_THE_FOLDER_ALONE, export, load_network
from ser_core.learn.policy.generation import encode_prompts

_NOT_RESUMED = frozenset({"training_args.bin", "README.md", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"})
"""Files of a TRL checkpoint that its resume does not read."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with the answer that is learnt, as token ids."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """Ends with the end token, unless it was cut."""
    truncated: bool


class Watch(Protocol):
    """Who watches a fine-tuning. Each process has one; what any of them answers holds for all."""

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, step: int, files: Mapping[str, Path]) -> None:
        """Keep a checkpoint: all that a later attempt needs in its folder to go on after ``step``."""
        ...

    def silent(self, phase: str) -> None:
        """What follows takes no steps, and may take long."""
        ...

    def stepped(self, step: int, loss: float) -> None:
        """One more optimizer step is done."""
        ...


def encode_demonstrations(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], *, prompt_tokens: int, answer_tokens: int
) -> list[Demonstration]:
    """Prompts as PPO asks them, with their answers and the end token.

    Args:
        tokenizer: The policy's.
        prompts: As the reward model reads them.
        answers: One for each prompt.
        prompt_tokens: Longest prompt; longer ones lose their beginning.
        answer_tokens: Longest answer, its end token included; longer ones lose their end and the end token.

    Raises:
        DataError: A prompt has no tokens.
    """
    found = []
    encoded = encode_prompts(tokenizer, prompts, tokens=prompt_tokens)
    whole = encode_prompts(tokenizer, prompts, tokens=10**9)
    for prompt, uncut, answer in zip(encoded, whole, answers, strict=True):
        ids = (*tokenizer(f" {answer}", add_special_tokens=False, verbose=False)["input_ids"], tokenizer.eos_token_id)
        truncated = len(ids) > answer_tokens or len(uncut.tokens) > len(prompt.tokens)
        found.append(Demonstration(prompt.tokens, ids[:answer_tokens], truncated))
    return found


def load_demonstrations(
    base: Path, prompts: Sequence[str], answers: Sequence[str], *, prompt_tokens: int, answer_tokens: int
) -> list[Demonstration]:
    """The same with the tokenizer in ``base``."""
    tokenizer = AutoTokenizer.from_pretrained(base, **FROM_THE_FOLDER_ALONE)
    return encode_demonstrations(tokenizer, prompts, answers, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens)


def count_steps(rows: int, spec: SupervisedSpec) -> int:
    """Optimizer steps of a fine-tuning; the last one of a pass may be smaller."""
    return spec.epochs * -(-rows // spec.answers_per_step)


def rows_together(longest: int, budget: int, answers_per_step: int) -> int:
    """Rows of a micro-batch: the largest divisor of a step's answers whose padded rows stay within ``budget`` tokens; at least 1."""
    fitting = [rows for rows in range(1, answers_per_step + 1) if answers_per_step % rows == 0 and rows * longest <= budget]
    return max(fitting, default=1)


def fine_tune(
    base: Path,
    rows: Sequence[Demonstration],
    spec: SupervisedSpec,
    precision: Precision,
    folder: Path,
    *,
    adapter: AdapterSpec | None,
    tokens_per_batch: int,
    seed: int,
    processes: int = 1,
    watch: Watch,
    resume: Path | None = None,
) -> tuple[float, ...]:
    """Fine-tune and export a policy; returns the loss of every optimizer step, the mean over an answer's tokens, in nats.

    Args:
        base: A causal language model with its tokenizer, weights in safetensors.
        rows: What to learn.
        spec: Epochs, rate and step size.
        precision: How to compute it.
        folder: Gets ``model/``, the policy with its tokenizer, adapter merged; checkpoints are written beside it.
        adapter: Train a LoRA adapter in place of all weights.
        tokens_per_batch: Tokens of a micro-batch, padding included.
        seed: Of the order of the rows, of dropout and of a new adapter.
        processes: How many do this together, in the environment of torchrun; each takes an equal share of every step.
        watch: Asked before and told after every step.
        resume: Folder of a checkpoint to go on from.

    Raises:
        DataError: There is nothing to learn.
        QualityError: The loss is not finite.
        Interrupted: The watch asked to stop; a checkpoint was saved.
        SpecError: transformers cannot make a causal language model of ``base``, or the processes cannot share a step.
    """
    if spec.answers_per_step % processes:
        raise SpecError(
            f"policy.sft.answersPerStep {spec.answers_per_step} cannot be shared by {processes} processes",
            reason="UnevenShares",
            hint=f"make it a multiple of {processes}, or give resources.sft other GPUs",
        )
    if not rows:
        raise DataError("the seed has no training pair to fine-tune the policy on", reason="NoPairs", hint="give more labelled pairs")
    from datasets import Dataset, disable_progress_bars
    from trl import SFTTrainer

    disable_progress_bars()
    torch.manual_seed(seed)
    network, tokenizer = load_network(AutoModelForCausalLM, base, "policy.base")
    share = spec.answers_per_step // processes
    together = rows_together(max(len(row.prompt) + len(row.answer) for row in rows), precision.batch_tokens(tokens_per_batch), share)
    teller = _Teller(watch, precision.device)
    trainer = SFTTrainer(
        model=network,
        args=_trl_settings(
            spec,
            precision,
            output_dir=str(folder / "trainer"),
            per_device_train_batch_size=together,
            gradient_accumulation_steps=share // together,
            warmup_steps=-(-count_steps(len(rows), spec) // 10),
            seed=seed,
        ),
        train_dataset=Dataset.from_list([_as_trl(row) for row in rows]),
        processing_class=tokenizer,
        callbacks=[teller],
        peft_config=lora(adapter, "CAUSAL_LM") if adapter is not None else None,
    )
    _silence(trainer)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if teller.interrupted_at is not None:
        raise Interrupted(f"stopped after step {teller.interrupted_at} of the fine-tuning", hint="start it again to go on from there")
    watch.silent("exporting the policy")
    export(trainer.model, tokenizer, folder / "model")
    return tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)


def _trl_settings(spec: SupervisedSpec, precision: Precision, **more: Any) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        num_train_epochs=spec.epochs,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="linear",
        bf16=precision.autocast is torch.bfloat16,
        use_cpu=precision.device == "cpu",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        max_length=None,
        completion_only_loss=True,
        dataloader_pin_memory=precision.device == "cuda",
        **more,
    )


class _Teller(TrainerCallback):
    """Tells the watch of every step, and lets the trainer save and stop when it asks to."""

    def __init__(self, watch: Watch, device: str) -> None:
        self._watch = watch
        self._device = device
        self.interrupted_at: int | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise QualityError(
                f"the loss of fine-tuning step {state.global_step} is not finite",
                reason="LossNotFinite",
                hint="lower policy.sft.learningRate, or compute in fp32",
            )
        self._watch.stepped(state.global_step, loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        stop = ranks.anywhere(self._watch.stopping(), self._device) and state.global_step < state.max_steps
        control.should_training_stop = control.should_training_stop or stop
        control.should_save = stop or ranks.anywhere(self._watch.checkpoint_due(), self._device)
        if control.should_save:
            self._watch.silent("writing a checkpoint")
        if stop:
            self.interrupted_at = state.global_step

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        made = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        files = {path.relative_to(made).as_posix(): path for path in sorted(made.rglob("*")) if path.is_file()}
        self._watch.save(state.global_step, {name: path for name, path in files.items() if name not in _NOT_RESUMED})


def _as_trl(row: Demonstration) -> dict[str, list[int]]:
    return {"input_ids": [*row.prompt, *row.answer], "completion_mask": [0] * len(row.prompt) + [1] * len(row.answer)}


def _silence(trainer: Any) -> None:
    """Standard output carries JSON events alone."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
