"""Supervised fine-tuning of a policy. Read it from top to bottom.

The loss is the negative log-likelihood of the answers' tokens, those of the prompts have none. Prompts, answers and end tokens are encoded
as later in PPO. As in the training of a reward model the position in the data is the number of the optimizer step, and dropout is off.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file

from ser_core.api.spec.policy import SupervisedSpec
from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.errors import DataError, QualityError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.distributed import engine_for, training_of_network
from ser_core.learn.compute.engine import GATHERING, stop_after
from ser_core.learn.compute.precision import Precision
from ser_core.learn.compute.rate import learning_rate
from ser_core.learn.compute.saved_tensors import open_saved
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.generation import Prompt, encode_prompts, policy_text
from ser_core.learn.policy.log_probabilities import log_probabilities, passes_logits_on
from ser_core.learn.reward.batching import pairs_of_step, shares, steps_per_epoch
from ser_core.learn.reward.encoding import common_beginning
from ser_core.learn.text.chat_text import ChatText
from ser_core.learn.text.control_tokens import ControlTokens
from ser_core.learn.text.long_texts import token_ids
from ser_core.memory.activations import MicroBatch
from ser_core.memory.training import Sharding

FILES = ("losses.json", "state.safetensors")
"""Of a fine-tuning's state."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the answer that the policy learns, as token ids."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """Ends with the end token, unless it was cut."""
    truncated: bool
    """Whether the prompt or the answer was cut."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class FineTuningState:
    """What a fine-tuning goes on from: weights and optimizer moments by name (not copied), and the loss of every step taken, in nats."""

    tensors: Mapping[str, torch.Tensor]
    losses: tuple[float, ...]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write ``state.safetensors`` and ``losses.json``; returns them by name."""
        files = {name: folder / name for name in FILES}
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, files["state.safetensors"])
        files["losses.json"].write_text(json.dumps(self.losses), encoding="utf-8")
        return files

    @classmethod
    def read(cls, folder: Path) -> "FineTuningState":
        """Read what `write` wrote, in all processes (`saved_tensors.open_saved`)."""
        losses = json.loads((folder / "losses.json").read_text(encoding="utf-8"))
        return cls(open_saved(folder, "state.safetensors"), tuple(losses))


def digest(rows: Sequence[Demonstration]) -> str:
    """SHA-256 of the token ids that a fine-tuning reads: another template, tokenizer or length gives another."""
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps([row.prompt, row.answer]).encode())
    return found.hexdigest()


class Watch(Protocol):
    """What a fine-tuning asks and reports. Every process has its own watch; a yes from any of them is a yes for all processes."""

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, state: FineTuningState) -> None:
        """Keep a checkpoint. Every process calls it; the state of each has the tensors that it owns."""
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
    """Encode prompts as PPO does, each with its answer and the end token: as one text, which is then cut.

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
    uncut = encode_prompts(tokenizer, prompts, tokens=10**9)
    for prompt, whole, (shared, answer) in zip(encoded, uncut, _answers(tokenizer, uncut, answers), strict=True):
        truncated = len(answer) > answer_tokens or len(whole.tokens) > len(prompt.tokens)
        found.append(Demonstration(prompt.tokens[: len(prompt.tokens) - shared], answer[:answer_tokens], truncated))
    return found


def _answers(tokenizer: Any, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[tuple[int, tuple[int, ...]]]:
    """Ids of the answers, end token included, each with the number of the prompt's last ids that became others before it."""
    text, control = policy_text(tokenizer), ControlTokens(tokenizer)
    asked, said = [control.guarded(prompt.text) for prompt in prompts], list(map(control.guarded, answers))
    if text is None:
        return [(0, (*ids.tolist(), tokenizer.eos_token_id)) for ids in token_ids(control.ids, [f" {answer}" for answer in said])]
    asked = asked if isinstance(text, ChatText) else list(map(unmarked, asked))
    whole_text = text.demonstration if isinstance(text, ChatText) else text.whole
    texts = [whole_text(prompt, answer) for prompt, answer in zip(asked, said, strict=True)]
    wholes = [ids.tolist() for ids in token_ids(control.ids, texts)]
    cuts = [common_beginning(whole, prompt.tokens) for whole, prompt in zip(wholes, prompts, strict=True)]
    if isinstance(text, ChatText):  # what follows the end of an answer is never written
        end = () if text.end is not None else (tokenizer.eos_token_id,)
        behind = len(text.after) - (text.end is not None)
        wholes = [[*whole[: len(whole) - behind], *end] for whole in wholes]
    return [(len(prompt.tokens) - cut, tuple(whole[cut:])) for whole, prompt, cut in zip(wholes, prompts, cuts, strict=True)]


def count_steps(rows: int, spec: SupervisedSpec) -> int:
    """Number of optimizer steps. The last step of an epoch can have fewer answers."""
    return spec.epochs * steps_per_epoch(rows, spec.answers_per_step)


def fine_tune(
    network: Any,
    rows: Sequence[Demonstration],
    spec: SupervisedSpec,
    precision: Precision,
    *,
    tokens_per_batch: int,
    seed: int,
    watch: Watch,
    resume: FineTuningState | None = None,
    sharding: Sharding | None = None,
) -> tuple[float, ...]:
    """Fine-tune a policy in place with AdamW without weight decay.

    Several processes of one ``torch.distributed`` group call it together, with equal arguments, and share the answers of every step.

    Args:
        network: A causal language model, or one with an adapter, which then learns alone; where `engine_for` takes it.
        rows: Demonstrations to learn.
        spec: Epochs, learning rate and answers per step.
        precision: Device and number types of the computation.
        tokens_per_batch: Tokens of a micro-batch, padding included.
        seed: Of the order of the rows.
        watch: Told after every step, asked before every micro-batch; of several processes before every step.
        resume: State to go on from.
        sharding: How it is spread; None: as the memory of this machine needs it.

    Returns:
        The loss of every step, those before ``resume`` included: the mean over the tokens of the step's answers.

    Raises:
        DataError: There is no demonstration.
        QualityError: The loss or its gradient is not finite.
        Interrupted: The watch asked to stop; the last whole step was saved.
    """
    if not rows:
        raise DataError("the seed has no training pair to fine-tune the policy on", reason="NoPairs", hint="give more labelled pairs")
    losses = list(resume.losses) if resume else []
    steps, processes, device = count_steps(len(rows), spec), ranks.count(), precision.device
    budget = precision.batch_tokens(tokens_per_batch)
    longest = max(map(len, rows))
    sizes = training_of_network(network, MicroBatch(max(budget, longest), longest, precision.autocast is not None), logits=True)
    engine = engine_for(network, spec.learning_rate, resume.tensors if resume else None, sizes, precision, sharding)
    in_chunks = passes_logits_on(engine.network, precision)
    engine.rest()

    def save() -> None:
        watch.silent(GATHERING)
        watch.save(FineTuningState(engine.tensors(), tuple(losses)))

    for step in range(len(losses), steps):
        chosen = [rows[index] for index in pairs_of_step(step, len(rows), spec.answers_per_step, seed)]
        lengths = list(map(len, chosen))
        own = shares(lengths, budget, processes, rows=1)[ranks.rank()]
        tokens = sum(len(row.answer) for row in chosen)
        engine.start_step()
        total = 0.0
        for number, members in enumerate(own):
            if (processes == 1 or number == 0) and ranks.anywhere(watch.stopping(), device):
                stop_after(save, device, f"step {step} of {steps} of the fine-tuning")
            # Processes take the same number of micro-batches, since each exchanges weights or gradients: a row without weight fills up.
            micro_batch = [chosen[index] for index in members or [lengths.index(min(lengths))]]
            batch = sequences([row.prompt for row in micro_batch], [row.answer for row in micro_batch], device)
            likelihood = log_probabilities(engine.network, batch, 1.0, precision, in_chunks=in_chunks).sum()
            # A sum over the step's tokens divided by their number: how they are cut into micro-batches changes nothing.
            loss = -likelihood / tokens if members else 0.0 * likelihood
            engine.backward(loss, last=number == len(own) - 1)
            total += loss.item()
        total = ranks.total(torch.tensor(total, dtype=torch.float64, device=device)).item()
        norm = engine.step(learning_rate(step, steps, spec.learning_rate)) if math.isfinite(total) else math.nan
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise QualityError(
                f"fine-tuning step {step + 1}: the loss is {total:g}, the norm of its gradient {norm:g}",
                reason="NonFiniteLoss",
                hint="lower policy.sft.learningRate, or set policy.precision to fp32",
            )
        losses.append(total)
        watch.stepped(step + 1, total)
        if ranks.anywhere(watch.checkpoint_due(), device):
            save()
    watch.silent(GATHERING)
    engine.close()
    return tuple(losses)
