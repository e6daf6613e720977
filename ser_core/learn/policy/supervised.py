"""Supervised fine-tuning of a policy with TRL. The loss is over the tokens of the answers; the tokens of the prompts have none.

This module tokenises the rows, and TRL does not: so the policy sees the same prompts, answers and end tokens as later in PPO.
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
"""Files of a TRL checkpoint that a resume does not need."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the answer that the policy learns, as token ids."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """Ends with the end token, unless it was cut."""
    truncated: bool
    """Whether the prompt or the answer was cut."""


class Watch(Protocol):
    """What a fine-tuning asks and reports. Every process has its own watch; a yes from any of them is a yes for all processes."""

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, step: int, files: Mapping[str, Path]) -> None:
        """Keep a checkpoint: the files that a later attempt needs to resume after ``step``."""
        ...

    def silent(self, phase: str) -> None:
        """A phase begins that takes no steps and can last long."""
        ...

    def stepped(self, step: int, loss: float) -> None:
        """One more optimizer step is done; its loss is in nats."""
        ...


def encode_demonstrations(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], *, prompt_tokens: int, answer_tokens: int
) -> list[Demonstration]:
    """Encode prompts as PPO does, each with its answer and the end token.

    Args:
        tokenizer: The policy's tokenizer.
        prompts: Texts of the prompts.
        answers: One answer for each prompt.
        prompt_tokens: Length of the longest prompt; a longer one loses its beginning.
        answer_tokens: Length of the longest answer, end token included; a longer one loses its end and so the end token.

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
    """`encode_demonstrations` with the tokenizer in the folder ``base``."""
    tokenizer = AutoTokenizer.from_pretrained(base, **FROM_THE_FOLDER_ALONE)
    return encode_demonstrations(tokenizer, prompts, answers, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens)


def count_steps(rows: int, spec: SupervisedSpec) -> int:
    """Number of optimizer steps. The last step of an epoch can have fewer answers."""
    return spec.epochs * -(-rows // spec.answers_per_step)


def rows_together(longest: int, budget: int, answers_per_step: int) -> int:
    """Rows of a micro-batch: the largest divisor of ``answers_per_step`` whose padded rows have at most ``budget`` tokens, or 1."""
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
    """Fine-tune a policy and export it.

    Args:
        base: Folder of a causal language model with its tokenizer, weights in safetensors.
        rows: Demonstrations to learn.
        spec: Epochs, learning rate and answers per step.
        precision: Device and number types of the computation.
        folder: The exported policy is written to ``model/`` in it, adapter merged; TRL writes its checkpoints to ``trainer/``.
        adapter: Train a LoRA adapter instead of all weights.
        tokens_per_batch: Tokens of a micro-batch, padding included.
        seed: Seed of the order of the rows, of dropout and of a new adapter.
        processes: Number of processes that train together, in the environment of torchrun. Each takes an equal share of every step.
        watch: Hears of every step, and is then asked whether to stop and whether to save.
        resume: Folder of the checkpoint to resume from.

    Returns:
        Loss of every optimizer step: the mean over the answers' tokens, in nats.

    Raises:
        DataError: There is no demonstration.
        QualityError: The loss is not finite.
        Interrupted: The watch asked to stop; a checkpoint was saved.
        SpecError: transformers cannot load ``base`` as a causal language model, or the processes cannot share a step equally.
    """
    if spec.answers_per_step % processes:
        raise SpecError(
            f"policy.sft.answersPerStep {spec.answers_per_step} is not a multiple of the number of processes, {processes}",
            reason="UnevenShares",
            hint=f"set policy.sft.answersPerStep to a multiple of {processes}, or change the GPUs of resources.sft",
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
        raise Interrupted(
            f"stopped after step {teller.interrupted_at} of the fine-tuning", hint="start it again: it resumes after that step"
        )
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
    """Reports every step to the watch, and makes the trainer save and stop when the watch says so."""

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
                hint="lower policy.sft.learningRate, or set policy.precision to fp32",
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
    # TRL calls an answer a completion.
    return {"input_ids": [*row.prompt, *row.answer], "completion_mask": [0] * len(row.prompt) + [1] * len(row.answer)}


def _silence(trainer: Any) -> None:
    """Standard output is for JSON events; TRL must not print there."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
