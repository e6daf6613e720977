"""How models and tokenizers are read and written."""

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

from ser_core.errors import SERError, SpecError, is_disk_full
from ser_core.learn.compute.fit import Loaded, refuse_not_finite, refuse_unfit
from ser_core.learn.compute.precision import narrow
from ser_core.learn.compute.stored_adapter import merge, write_adapter
from ser_core.store.model_folder import BASE, is_adapter

FROM_THE_FOLDER_ALONE: Mapping[str, bool] = MappingProxyType({"local_files_only": True, "trust_remote_code": False})
"""Options of every ``from_pretrained``: no hub, and none of a model's own code. Without a plain no transformers asks on a terminal."""
_OF_THE_MACHINE = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT})
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")


def load_network(kind: Any, folder: Path, field: str, **options: Any) -> tuple[Any, Any]:
    """An fp32 network and its tokenizer. The network has a row of embeddings for every token.

    A stored adapter is merged into its base, in fp32 and on the CPU. The network's attribute ``lacking`` has the names of the weights that
    none of the files had, such as a new head's.

    Args:
        kind: An auto class of transformers.
        folder: Where they are.
        field: Of the specification, for messages.
        options: Of its configuration.

    Raises:
        SpecError: ``kind`` cannot make a network of it, or the weights do not fit that network or hold NaN.
    """
    if is_adapter(folder):
        with torch.random.fork_rng(devices=[]):  # a head that the base lacks comes from the adapter, so no random number is used up
            network, _ = load_network(kind, folder / BASE, field, **options)
        merge(network, folder)
        with told_of_the_model(field, "its tokenizer cannot be loaded"):
            tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_THE_FOLDER_ALONE)
        lengthen(network, tokenizer)
        network.lacking = ()
        return network, tokenizer
    with told_of_the_model(field, f"{kind.__name__} cannot load it"):
        tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_THE_FOLDER_ALONE)
        config = AutoConfig.from_pretrained(folder, **FROM_THE_FOLDER_ALONE, **options)
        network, told = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are refused by name in the next line
            output_loading_info=True,
            **FROM_THE_FOLDER_ALONE,
        )
        refuse_unfit(network, told, field, new_head=kind is AutoModelForSequenceClassification)
        refuse_not_finite(network, field)
        lengthen(network, tokenizer)
    network.lacking = (*sorted(told["missing_keys"]), *sorted(name for name, *_ in told["mismatched_keys"]))
    return network, tokenizer


def load_structure(kind: Any, folder: Path, field: str, **options: Any) -> tuple[Any, Any]:
    """What `load_network` returns, without numbers: for the processes that get them from rank 0 (`placing`). Its buffers have theirs.

    Arguments as in `load_network`. Whether the weights fit is rank 0's to say.
    """
    plain = folder
    while is_adapter(plain):
        plain = plain / BASE
    with told_of_the_model(field, f"{kind.__name__} cannot load it"):
        tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_THE_FOLDER_ALONE)
        config = AutoConfig.from_pretrained(plain, **FROM_THE_FOLDER_ALONE, **options)
        parameters_on_meta = register_module_parameter_registration_hook(_on_meta)  # type: ignore[arg-type]  # it may return the parameter to take
        try:
            network = kind.from_config(config, dtype=torch.float32, trust_remote_code=False)
        finally:
            parameters_on_meta.remove()
        if network.can_generate():
            with contextlib.suppress(OSError):  # it has no file of its own, as for `from_pretrained`
                network.generation_config = GenerationConfig.from_pretrained(plain, local_files_only=True)
        lengthen(network, tokenizer)
    network.lacking = ()
    return network, tokenizer


def _on_meta(_module: nn.Module, _name: str, weight: nn.Parameter | None) -> nn.Parameter | None:
    if weight is None or weight.is_meta:  # one that two modules share stays one
        return None
    return nn.Parameter(weight.data.to("meta"), weight.requires_grad)


def load_without_weights(
    kind: Any, folder: Path, tensors: Mapping[str, torch.Tensor], field: str, *, new_head: bool, **options: Any
) -> tuple[Any, Loaded]:
    """What `load_network` would find, on the meta device: neither memory nor time is spent on weights.

    Args:
        kind: A model class of transformers; an auto class needs a folder with weights.
        folder: With ``config.json``.
        tensors: Of the weights, by name, on the meta device.
        field: Of the specification, for messages.
        new_head: Whether its head, with the pooler, may be new.
        options: Of its configuration.

    Returns:
        The network, without numbers, and what of it is new.

    Raises:
        SpecError: As of `load_network`.
    """
    with told_of_the_model(field, f"{kind.__name__} cannot load it"):
        config = AutoConfig.from_pretrained(folder, **FROM_THE_FOLDER_ALONE, **options)
        network, told = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            device_map={"": "meta"},
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **FROM_THE_FOLDER_ALONE,
        )
        return network, refuse_unfit(network, told, field, new_head=new_head)


@contextlib.contextmanager
def told_of_the_model(field: str, what: str) -> Iterator[None]:
    """Turn whatever transformers raises into an error about the model, but for what is the machine's: memory, disk and other processes.

    Args:
        field: Of the specification, for the message.
        what: What cannot be done with the model.

    Raises:
        SpecError: ``ModelNotSupported``.
    """
    try:
        yield
    except SERError:
        raise
    except BaseException as error:  # the tokenizers, which are in Rust, panic with one that is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if any(text in str(error).lower() for text in _NO_MEMORY) and not isinstance(error, torch.OutOfMemoryError):
            raise MemoryError(str(error).strip().split("\n")[0]) from error
        if _is_of_the_machine(error):
            raise
        raise SpecError(
            f"{field}: {what}: {_first_line(error)}",
            reason="ModelNotSupported",
            hint="name a model that transformers supports, with whole and unchanged files: config.json, tokenizer, safetensors",
        ) from error


def _is_of_the_machine(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError | torch.distributed.DistError) or is_disk_full(error):
        return True
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE


def _first_line(error: BaseException) -> str:
    """Of an error whose own first line says no more than which check it was, that of its cause."""
    if type(error).__name__ == "StrictDataclassClassValidationError" and error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:400]}" if lines else type(error).__name__


def last_token(tokenizer: Any) -> int:
    """The highest id that a tokenizer gives; -1 where it has no token."""
    return max(tokenizer.get_vocab().values(), default=-1)


def rows_for_tokens(network: Any) -> int | None:
    """Rows of a network's table of embeddings; None: it has no such table, as CANINE."""
    with contextlib.suppress(NotImplementedError):
        rows: int | None = getattr(network.get_input_embeddings(), "num_embeddings", None)
        return rows
    return None


def lengthen(network: Any, tokenizer: Any) -> None:
    """Give every token of a tokenizer its row in the network's embeddings. New rows are the same in every network of the same kind."""
    rows = rows_for_tokens(network)
    if rows is None or last_token(tokenizer) < rows:
        return
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network.resize_token_embeddings(last_token(tokenizer) + 1, mean_resizing=False)


def store(network: Any, tokenizer: Any, folder: Path, *, base: Path, products: torch.dtype | None, half: bool) -> None:
    """Write a trained model as it is kept in a store: an adapter as an adapter, all weights as a plain model.

    Args:
        network: After its training; without an adapter and with ``half`` it can only be used to compute with afterwards.
        tokenizer: Its tokenizer.
        folder: A new folder.
        base: Folder that the network was loaded from.
        products: Type of the products that it was trained with; None: fp32.
        half: Whether nothing trains on it later, so that it is kept as it is computed (`precision.narrow`).
    """
    if hasattr(network, "peft_config"):
        write_adapter(network, folder, base, products)
        tokenizer.save_pretrained(folder)
    else:
        export(network, tokenizer, folder, products=products if half else None)


def export(network: Any, tokenizer: Any, folder: Path, *, products: torch.dtype | None = None) -> None:
    """Write a plain transformers model and its tokenizer, adapter merged, in safetensors. Ends the training of an adapter.

    Args:
        network: The network.
        tokenizer: Its tokenizer.
        folder: A new folder.
        products: Type of the products that the network is computed with: it is kept as `precision.narrow` says. None: in fp32.
    """
    # What an adapter has learnt would be lost in the rounding of bf16.
    network = network.float().merge_and_unload() if hasattr(network, "merge_and_unload") else network
    if products is not None:
        narrow(network, products)
    network.save_pretrained(folder)
    if products is not None:
        _loads_as_fp32(folder / "config.json")
    tokenizer.save_pretrained(folder)


def _loads_as_fp32(path: Path) -> None:
    """Let transformers load an export of several types without rounding what is not bf16."""
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
