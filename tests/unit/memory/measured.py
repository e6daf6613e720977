"""One process of a training whose memory is counted; an own module, so that a new process can import it."""

import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers
from peft import get_peft_model
from torch import distributed
from unit.memory.live_bytes import LiveBytes
from unit.memory.lowest import lowest

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.compute.adapters import lora
from ser_core.learn.compute.distributed import distributed_engine, training_of_network
from ser_core.learn.compute.engine import ADAM, Engine, LocalEngine
from ser_core.learn.compute.pieces import cut_layers
from ser_core.learn.compute.precision import Precision, autocast, freeze, narrow_frozen, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.log_probabilities import log_probabilities
from ser_core.memory import training
from ser_core.memory.activations import MicroBatch
from ser_core.memory.scoring import scoring_bytes
from ser_core.memory.training import Sharding, moments_bytes, shardings, training_bytes

ROWS, LENGTH, SHORT = 4, 90, 20
KINDS = {"reward": 0, "policy": 100 * 600, "adapter": 100 * 600}
"""What is trained, an adapter being a policy's, with the numbers of logits computed together: a hundred tokens of the whole vocabulary."""
HALF = Precision("cpu", torch.bfloat16)


@dataclass(frozen=True)
class Case:
    """One training."""

    kind: str
    sharding: Sharding
    share: float = 1
    """Of all gradients, in one bucket: models of the paper's sizes have many buckets."""

    def __str__(self) -> str:
        return f"{self.kind}, {self.sharding}, {self.share} in a bucket"


CASES = [Case("reward", sharding) for sharding in shardings(2)]
# A policy differs by its logits, which decide where nothing else is large: least where moments and activations are there together.
CASES += [Case("policy", sharding) for sharding in shardings(2) if sharding.recompute or not sharding.offload]
# An adapter has hardly any numbers to cut, nor moments to keep in main memory.
CASES += [Case("adapter", sharding) for sharding in shardings(2) if sharding.stage in (0, 3) and not sharding.offload]
CASES += [Case("reward", Sharding(stage, recompute=True), 0.2) for stage in (0, 1, 3)]
CASES += [Case(kind, Sharding(2, recompute=True), share) for kind, share in (("reward", 0.5), ("policy", 0.2), ("reward", 0.05))]
CASES.sort(key=lambda case: case.sharding.stage)  # DeepSpeed changes how torch multiplies in a process that has been at stage 3


def network(kind: str) -> Any:
    """A small Llama whose weights take more memory than its activations: one that scores, a policy, or a policy with an adapter."""
    sizes = {"hidden_size": 192, "intermediate_size": 528, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(**sizes, vocab_size=600, max_position_embeddings=128, pad_token_id=0, num_labels=1)
    torch.manual_seed(0)
    made = (transformers.LlamaForSequenceClassification if kind == "reward" else transformers.LlamaForCausalLM)(config).eval()
    made.config.use_cache = False
    return narrow_frozen(get_peft_model(made, lora(AdapterSpec(rank=4), "CAUSAL_LM")), HALF) if kind == "adapter" else made


def loss_of(network: Any, kind: str, logits: int) -> torch.Tensor:
    """A loss of one micro-batch."""
    ids = torch.randint(1, 500, (ROWS, LENGTH))
    if kind != "reward":
        batch = sequences([[row[0]] for row in ids.tolist()], [row[1:] for row in ids.tolist()], "cpu")
        return log_probabilities(network, batch, 1.0, HALF, in_chunks=True, largest=logits).sum()
    with autocast(HALF):
        return network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float().sum()  # type: ignore[no-any-return]


def measured(case: Case, processes: int) -> tuple[float, float]:
    """Bytes that were planned, and the most that lived at once, in a step that makes the moments, one of two micro-batches, and their end.
    Here a GPU's memory is main memory, so moments that are there count too."""
    kind, sharding, logits = case.kind, case.sharding, KINDS[case.kind]
    model, counted = network(kind), LiveBytes()
    sizes = replace(training_of_network(model, MicroBatch(ROWS * LENGTH, LENGTH, half=True)), logits=logits)
    bucket = int(case.share * sizes.trainable) if case.share < 1 else training.LARGEST_BUCKET
    for tensor in (*model.parameters(), *model.buffers()):
        counted.know(tensor)
    with patch.object(training, "LARGEST_BUCKET", bucket), counted:
        engine: Engine = (
            LocalEngine(model, 1e-3, None, recompute=sharding.recompute, offload=sharding.offload)
            if processes == 1
            else distributed_engine(model, 1e-3, None, sharding, sizes, ADAM, "cpu")
        )
        for micro_batches in ((True,), (False, True)):
            engine.start_step()
            for last in micro_batches:
                loss = loss_of(engine.network, kind, logits)
                engine.backward(loss, last=last)
                del loss
            engine.step(1e-3)
        engine.close()
        planned = training_bytes(sizes, sharding, processes).total
    moments = moments_bytes(sizes, sharding, processes) if sharding.offload else 0
    return planned + moments, counted.most


def scored(processes: int) -> tuple[float, float]:
    """The same of scoring one short row, by several processes with a network in pieces: almost all of it are weights."""
    model, counted, batch = freeze(network("reward"), HALF), LiveBytes(), MicroBatch(SHORT, SHORT, half=True)
    shape = training_of_network(model, batch).shape
    for tensor in (*model.parameters(), *model.buffers()):
        counted.know(tensor)
    with counted, torch.no_grad():
        if processes > 1:
            cut_layers(model, "cpu")
        counted.most = counted.live
        ids = torch.randint(1, 500, (1, SHORT))
        with autocast(HALF):
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return scoring_bytes(shape, batch, processes).total, counted.most


def process(rank: int, count: int, port: int, folder: Path) -> None:
    """Measure all cases together with the others; rank 0 writes down what the process needed that needed the most."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    set_up_process(threads=1)
    with process_group():
        for case in CASES:
            planned, lived = lowest(partial(measured, case, count))
            most = torch.tensor(lived)
            distributed.all_reduce(most, op=distributed.ReduceOp.MAX)
            if rank == 0:
                (folder / f"{case}.json").write_text(json.dumps((planned, most.item())), encoding="utf-8")
        (folder / f"scored-{rank}.json").write_text(json.dumps(scored(count)), encoding="utf-8")
