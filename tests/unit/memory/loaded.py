"""One process of a group that loads models; an own module, so that a new process can import it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from unit.memory.live_bytes import LiveBytes

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.compute.distributed import engine_for, training_of_network
from ser_core.learn.compute.pieces import cut_layers
from ser_core.learn.compute.precision import Precision, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.reward.reward_model import load
from ser_core.memory.activations import MicroBatch
from ser_core.memory.training import Sharding

HALF = Precision("cpu", torch.bfloat16)


def cut(network: Any) -> None:
    """Keep pieces alone."""
    cut_layers(network, "cpu")


def learn(network: Any) -> Any:
    """Cut it for a training of all its weights."""
    return engine_for(network, 1e-3, None, training_of_network(network, MicroBatch(64, 32, half=True)), HALF, Sharding(3, recompute=True))


KINDS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "scores": ({"frozen": True}, cut),
    "adapter": ({"adapter": AdapterSpec(rank=2)}, cut),
    "learns": ({}, learn),
}
"""How a model is loaded, and what then takes its weights."""


def process(rank: int, port: int, base: Path, folder: Path) -> None:
    """Write down the most bytes of tensors that lived while a model of each kind was loaded, and those that stay."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    set_up_process(threads=1)
    with process_group():
        for kind, (how, take) in KINDS.items():
            with LiveBytes() as counted:
                model = load(base, HALF, max_length=48, together=True, **how)
                held = take(model.network)
            (folder / f"{kind}-{rank}.json").write_text(json.dumps([counted.most, counted.live]), encoding="utf-8")
            distributed.barrier()
            del model, held
