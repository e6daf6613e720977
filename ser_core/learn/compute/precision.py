"""In which arithmetic, on which device and with how many threads a reward model is computed.

Weights, the score head and the scores are always fp32; only the trunk's products may be bf16 (autocast). With bf16
scores a third of a percent of all pairs would tie exactly.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import nn
from transformers.pytorch_utils import Conv1D

from ser_core.api.spec.training import CPU_TOKENS_PER_BATCH
from ser_core.learn.compute.parts import without_adapter

_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True, slots=True)
class Precision:
    """Where the model is computed, and how.

    Attributes:
        device: ``cpu`` or ``cuda``.
        autocast: Type of the trunk's products; None: fp32.
        note: What differs from what was asked for, in words.
    """

    device: Literal["cpu", "cuda"]
    autocast: torch.dtype | None = None
    note: str | None = None

    def batch_tokens(self, budget: int) -> int:
        """Tokens of one batch: the budget, but on a CPU at most 2,048, since larger batches gain nothing there and only pad more."""
        return min(budget, CPU_TOKENS_PER_BATCH) if self.device == "cpu" else budget


def resolve(requested: Literal["auto", "fp32", "bf16"], *, cuda: bool, cuda_bf16: bool, cpuinfo: str) -> Precision:
    """Choose the arithmetic.

    Args:
        requested: ``rewardModel.precision``.
        cuda: Whether there is a GPU.
        cuda_bf16: Whether that GPU computes bf16.
        cpuinfo: Content of ``/proc/cpuinfo``; empty where there is none.
    """
    device: Literal["cpu", "cuda"] = "cuda" if cuda else "cpu"
    has_bf16 = cuda_bf16 if cuda else not _CPU_FLAGS.isdisjoint(cpuinfo.split())
    if requested == "fp32" or (requested == "auto" and not has_bf16):
        return Precision(device)
    if has_bf16:
        return Precision(device, torch.bfloat16)
    lacks = "this GPU has no bf16" if cuda else "this processor has neither avx512_bf16 nor amx_bf16"
    return Precision(device, note=f"rewardModel.precision bf16: {lacks}, so fp32 was used")


def detect(requested: Literal["auto", "fp32", "bf16"]) -> Precision:
    """`resolve` on this machine."""
    cpuinfo = Path("/proc/cpuinfo")
    cuda = torch.cuda.is_available()
    return resolve(
        requested,
        cuda=cuda,
        cuda_bf16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
        cpuinfo=cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else "",
    )


def autocast(precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Context in which a network computes its matrix products.

    A pass uses each weight once, and a converted copy of it would outlive the pieces of it that were gathered.
    """
    if precision.autocast is None:
        return contextlib.nullcontext()
    return torch.autocast(precision.device, dtype=precision.autocast, cache_enabled=False)


def freeze(network: Any, precision: Precision) -> Any:
    """End the training of a network, and keep its matrices in the type in which they are multiplied (`narrow_frozen`)."""
    return narrow_frozen(network.requires_grad_(False), precision)


def narrow_frozen(network: Any, precision: Precision) -> Any:
    """Keep the matrices that do not learn in the type in which they are multiplied; also those below an adapter.

    Autocast would convert them to the same bits again and again, from twice the memory. Embeddings, norms and what shares its weights with
    the embeddings stay fp32: they are added, not multiplied. So does what the base's files lack, since it is stored with an adapter.
    """
    if precision.autocast is not None:
        plain = without_adapter(network)
        lacking = set(getattr(plain, "lacking", ()))
        new = {id(weight) for name, weight in plain.named_parameters() if name.replace(".base_layer.", ".") in lacking}
        for weight in _multiplied(network):
            if not weight.requires_grad and id(weight) not in new:
                weight.data = weight.data.to(precision.autocast)
    return network


def narrow(network: Any, products: torch.dtype) -> None:
    """Keep a network's numbers in the type of its products wherever that changes nothing of what is computed with it.

    That is the case for matrices that are multiplied in this type anyhow, and for numbers that it expresses exactly, as those of a base
    that came in it. Loaded as fp32 again, the network computes the same bits under autocast.
    """
    multiplied = multiplied_in(network)
    for weight in network.parameters():
        weight.data = narrowed(weight.data, products, multiplied=id(weight) in multiplied)


def multiplied_in(network: Any) -> set[int]:
    """The weights of a network that are multiplied in the type of its products, by their ``id``."""
    return {id(weight) for weight in _multiplied(network)} | {id(weight) for weight in _output(network)}


def narrowed(numbers: torch.Tensor, products: torch.dtype, *, multiplied: bool) -> torch.Tensor:
    """A weight as `narrow` keeps it."""
    rounded = numbers.to(products)
    return rounded if multiplied or torch.equal(rounded.to(numbers.dtype), numbers) else numbers


def _multiplied(network: Any) -> Iterator[torch.Tensor]:
    """The matrices of the trunk, which share no weights with the embeddings."""
    embeddings = network.get_input_embeddings()
    for part in without_adapter(network).base_model.modules():
        if isinstance(part, nn.Linear | Conv1D) and part.weight is not embeddings.weight:
            yield part.weight


def _output(network: Any) -> Iterator[torch.Tensor]:
    """The output layer of a language model, if it has weights of its own. A reward model has none: its head is computed in fp32."""
    layer = network.get_output_embeddings()
    if isinstance(layer, nn.Linear) and layer.weight is not network.get_input_embeddings().weight:
        yield layer.weight


def gpu_memory() -> int | None:
    """Bytes of this process's GPU; None where there is none."""
    return int(torch.cuda.get_device_properties().total_memory) if torch.cuda.is_available() else None


def set_up_process(threads: int) -> None:
    """Make this process compute the same bits every time, on ``threads`` threads, and keep libraries quiet."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    # transformers loads DeepSpeed, where it is installed, to save a model; not told the device, that writes to standard output.
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time and guards against a fault that we do not have
    keep_libraries_quiet()


def keep_libraries_quiet() -> None:
    """Keep libraries from writing to the terminal of this process: of an adapter's base transformers says that it lacks the score head."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries to each other's developers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
