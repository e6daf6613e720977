"""How models and tokenizers are read."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

from ser_core.errors import SERError, SpecError, is_disk_full
from ser_core.learn.compute import ranks, unread
from ser_core.learn.compute.parts import heads
from ser_core.learn.compute.placing import replace_weights
from ser_core.learn.weights.fit import Loaded, refuse_not_finite, refuse_unfit
from ser_core.learn.weights.stored_adapter import merge
from ser_core.store.stages.model_folder import BASE, is_adapter

FROM_THE_FOLDER_ALONE: Mapping[str, bool] = MappingProxyType({"local_files_only": True, "trust_remote_code": False})
"""Options of every ``from_pretrained``: no hub, and none of a model's own code. Without a plain no transformers asks on a terminal."""
_LOADING: Mapping[str, Any] = MappingProxyType(
    {
        "dtype": torch.float32,
        "ignore_mismatched_sizes": True,  # `refuse_unfit` refuses them by name
        "output_loading_info": True,
        **FROM_THE_FOLDER_ALONE,
    }
)
_OF_THE_MACHINE = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT})
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")


def load_network(kind: Any, folder: Path, field: str, *, in_files: bool = False, **options: Any) -> tuple[Any, Any]:
    """An fp32 network and its tokenizer. The network has a row of embeddings for every token.

    A stored adapter is merged into its base, in fp32 and on the CPU. The network's attribute ``lacking`` has the names of the weights that
    none of the files had, such as a new head's.

    Args:
        kind: An auto class of transformers.
        folder: Where they are.
        field: Of the specification, for messages.
        in_files: Whether its matrices stay in their files until they are placed (`unread`). All are read at once where transformers changes
            them.
        options: Of its configuration.

    Raises:
        SpecError: ``kind`` cannot make a network of it, or the weights do not fit that network or hold NaN.
    """
    if is_adapter(folder):
        with torch.random.fork_rng(devices=[]):  # a head that the base lacks comes from the adapter, so no random number is used up
            network, _ = load_network(kind, folder / BASE, field, in_files=in_files, **options)
        merge(network, folder)
        with told_of_the_model(field, "its tokenizer cannot be loaded"):
            tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_THE_FOLDER_ALONE)
        lengthen(network, tokenizer)
        network.lacking = ()
        return network, tokenizer
    with told_of_the_model(field, f"{kind.__name__} cannot load it"):
        tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_THE_FOLDER_ALONE)
        config = AutoConfig.from_pretrained(folder, **FROM_THE_FOLDER_ALONE, **options)
        before = torch.random.get_rng_state()
        found = _in_files(kind, folder, config, field) if in_files else None
        if found is None:
            torch.random.set_rng_state(before)
            found = kind.from_pretrained(folder, config=config, use_safetensors=True, **_LOADING)
        network, told = found
        refuse_unfit(network, told, field, new_head=kind is AutoModelForSequenceClassification)
        refuse_not_finite({name: weight for name, weight in network.named_parameters() if not weight.is_meta}, field)
        if kind is AutoModelForSequenceClassification:
            read_now(network, *(weight for head in heads(network).values() for weight in head.parameters()))  # an adapter copies them
        lengthen(network, tokenizer)
    network.lacking = (*sorted(told["missing_keys"]), *sorted(name for name, *_ in told["mismatched_keys"]))
    return network, tokenizer


def _in_files(kind: Any, folder: Path, config: Any, field: str) -> tuple[Any, Mapping[str, Any]] | None:
    """What ``from_pretrained`` returns, its matrices unread; None: transformers changes those in the files, or knows why there are none."""
    tensors = unread.tensors_in(folder)
    if not tensors:
        return None
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        chosen = type(kind.from_config(config, trust_remote_code=False))
    with unread.PutTogether() as together:
        network, told = chosen.from_pretrained(None, config=config, state_dict=dict(tensors), **_LOADING)

    def finite(name: str, numbers: torch.Tensor) -> torch.Tensor:
        refuse_not_finite({name: numbers}, field)
        return numbers

    if not unread.take_sources(network, list(tensors.values()), together, finite):
        return None
    _configure_generation(network, folder)
    return network, told


def _configure_generation(network: Any, folder: Path) -> None:
    if network.can_generate():
        with contextlib.suppress(OSError):  # it has no file of its own, as for `from_pretrained`
            network.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)


def read_now(network: Any, *weights: nn.Parameter) -> None:
    """Read some of a network's weights that are in files."""
    read = unread.unread(iter(weights))
    replace_weights(network, {id(weight): read.get(id(weight), weight) for weight in network.parameters()})


def read_model(kind: Any, folder: Path, field: str, *, together: bool, **options: Any) -> tuple[Any, Any]:
    """`load_network`; with ``together`` all processes call it, and rank 0 reads the weights when they are placed (`placing`)."""
    if together and ranks.rank():
        return load_structure(kind, folder, field, **options)
    return load_network(kind, folder, field, in_files=together, **options)


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
        _configure_generation(network, plain)
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
            **_LOADING,
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
        add_rows(network, last_token(tokenizer) + 1)


def add_rows(network: Any, rows: int) -> None:
    """Give a network's table of embeddings that many rows, and its output layer. New ones come from torch's generator."""
    tables = (network.get_input_embeddings(), network.get_output_embeddings())
    read_now(network, *(weight for table in tables if table is not None for weight in table.parameters()))
    network.resize_token_embeddings(rows, mean_resizing=False)
