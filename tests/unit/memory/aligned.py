"""One process of an alignment whose memory is counted; an own module, so that a new process can import it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers
from peft import get_peft_model
from torch import distributed
from unit.learn.policy.doubles import END, Numbers, Watch, prompts
from unit.memory.live_bytes import LiveBytes
from unit.memory.lowest import lowest

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.compute.adapters import adapt_scorer, lora
from ser_core.learn.compute.distributed import training_of_network
from ser_core.learn.compute.pieces import Pieces, cut_all, cut_layers
from ser_core.learn.compute.precision import Precision, freeze, narrow_frozen, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.compute.whole_copy import WholeCopy
from ser_core.learn.policy.generation import CopyGenerator, TransformersGenerator
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.ppo.critic import Critic, values_of_tokens
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.memory import alignment, training
from ser_core.memory.activations import MicroBatch
from ser_core.memory.alignment import ALL_IN_PIECES, IN_PIECES, Alignment, alignment_bytes, resting_bytes
from ser_core.memory.scoring import frozen_bytes
from ser_core.memory.training import NUMBER, Sharding, moments_bytes

PROMPT, ANSWER, ROWS, TOKENS = 26, 6, 8, 64
LENGTH = PROMPT + ANSWER
HALF = Precision("cpu", torch.bfloat16)


@dataclass(frozen=True)
class Case:
    """One alignment."""

    sharding: Sharding
    rloo: bool = False
    adapter: bool = False
    share: float = 1
    """Of all the policy's gradients, in one bucket."""

    def __str__(self) -> str:
        return f"{self.sharding}{', rloo' if self.rloo else ''}{', adapter' if self.adapter else ''}, {self.share} in a bucket"


CASES = [
    Case(Sharding(0, False)),
    Case(Sharding(1, False)),
    Case(Sharding(2, True)),
    Case(Sharding(3, True)),
    Case(Sharding(3, True), rloo=True),
]
CASES += [Case(Sharding(2, True, offload=True)), Case(Sharding(3, True, offload=True))]
CASES += [Case(Sharding(1, True, offload=True), rloo=True, share=0.2), Case(Sharding(2, True), share=0.2)]
CASES += [Case(IN_PIECES, adapter=True), Case(IN_PIECES, adapter=True, rloo=True), Case(ALL_IN_PIECES), Case(ALL_IN_PIECES, rloo=True)]
CASES.sort(key=lambda case: case.sharding.stage)  # DeepSpeed changes how torch multiplies in a process that has been at stage 3


def network(kind: type, seed: int) -> transformers.PreTrainedModel:
    """A small Llama whose weights take more memory than its activations."""
    sizes = {"hidden_size": 192, "intermediate_size": 528, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(**sizes, vocab_size=600, max_position_embeddings=128, pad_token_id=0, num_labels=1)
    torch.manual_seed(seed)
    return kind(config).eval()


def on_one_trunk(policy: Any, critic: Any) -> tuple[Any, Any]:
    """Both with adapters, on the policy's frozen weights."""
    adapter = AdapterSpec(rank=8, alpha=8)
    policy = narrow_frozen(get_peft_model(policy, lora(adapter, "CAUSAL_LM")), HALF)
    critic = adapt_scorer(critic, adapter)
    mine = dict(policy.named_parameters())
    for name, weight in critic.named_parameters():
        if name in mine and not weight.requires_grad:
            weight.data = mine[name].data
    return policy, narrow_frozen(critic, HALF)


class Scored:
    """A scorer whose network computes rows of the full length, whatever the texts."""

    def __init__(self, network: torch.nn.Module, *, cut: bool, offload: bool) -> None:
        self._network = network
        self._pieces = Pieces(network, "cpu", cut=cut, offload=offload)

    @torch.no_grad()
    def scores(self, asked: Sequence[str], answers: Sequence[str]) -> list[float]:
        found: list[float] = []
        with self._pieces.whole(), torch.autocast("cpu", dtype=torch.bfloat16):
            for _ in range(0, len(asked), TOKENS // LENGTH):
                ids = torch.randint(1, 500, (TOKENS // LENGTH, LENGTH))
                found += self._network(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits.flatten().tolist()
        return found[: len(asked)]


def measured(case: Case, processes: int) -> tuple[float, float]:
    """Bytes that were planned, and the most that lived at once, in two steps and their end.

    Weights to fall back on are in main memory, not on a GPU: they are left out. Rank 0 has them, which is not measured where there is
    another; at stage 3 each has its pieces. Of what `Sharding.offload` keeps there both are counted, plan and truth.
    """
    offload = case.sharding.offload
    cut = case.sharding.stage == 3 and processes > 1 and not case.sharding.pieces
    own, counted = network(transformers.LlamaForCausalLM, 0), LiveBytes()
    reference = None if case.adapter else freeze(network(transformers.LlamaForCausalLM, 0), HALF)
    judged, watched = (freeze(network(transformers.LlamaForSequenceClassification, seed), HALF) for seed in (1, 3))
    valued: Any = network(transformers.LlamaForSequenceClassification, 2)
    if case.adapter:
        own, valued = on_one_trunk(own, valued)
    if case.rloo:
        valued = None
    batch = MicroBatch(TOKENS, LENGTH, half=True)
    learning = training_of_network(own, batch, logits=True)
    critic = None if valued is None else training_of_network(valued, batch)
    planned = Alignment(
        policy=learning,
        critic=critic,
        shares_trunk=case.adapter,
        reference=0 if case.adapter else frozen_bytes(learning.shape, half=True, output=learning.shape.output),
        scorer=learning.shape,
        scored=batch,
        prompt_tokens=PROMPT,
        answer_tokens=ANSWER,
        answers=ROWS,
        engine=0,
    )
    bucket = int(case.share * learning.trainable) if case.share < 1 else training.LARGEST_BUCKET
    networks = (own, reference, judged, watched, valued)
    for tensor in (tensor for one in networks if one is not None for tensor in one.parameters()):
        counted.know(tensor)
    with patch.object(training, "LARGEST_BUCKET", bucket), counted:
        if case.sharding.pieces:
            for one in networks:
                if one is not None and all(weight.requires_grad for weight in one.parameters()):
                    cut_all(one, "cpu")
                elif one is not None:
                    cut_layers(one, "cpu", own if one is valued else None)
            counted.most = counted.live  # until then they are in main memory
        pieces = None if reference is None or case.sharding.pieces else Pieces(reference, "cpu", cut=cut, offload=offload)
        policy = Policy(own, reference, Numbers(), (END,), HALF, in_chunks=True, reference_pieces=pieces)
        copy = WholeCopy(own, HALF) if cut else None
        sampled = TransformersGenerator(
            copy.network if copy else own, pad_token=0, end_tokens=(END,), device="cpu", autocast=torch.bfloat16, rows=ROWS
        )
        scorer = Scored(judged, cut=cut, offload=offload)
        witness = Scored(watched, cut=cut, offload=offload)
        align(
            policy,
            None if valued is None else Critic(values_of_tokens(valued, HALF), False, HALF),
            CopyGenerator(copy, sampled) if copy else sampled,
            prompts(*[PROMPT] * 4),
            scorer,
            Settings(
                answers_per_step=ROWS,
                answer_tokens=ANSWER,
                answers_per_prompt=2,
                advantage="rloo" if case.rloo else "gae",
                tokens_per_batch=TOKENS,
                epochs=1,
                minibatches=1,
            ),
            steps=2,
            watch=Watch(),
            witness=witness,
            sharding=case.sharding,
        )
        needed = alignment_bytes(planned, case.sharding, processes).total
    kept = sum(NUMBER * one.trainable for one in (learning, critic) if one is not None)
    here = {1: kept, 2: kept / processes if case.sharding.stage == 3 else 0}[processes]
    moved = sum(moments_bytes(one, case.sharding, processes) for one in (learning, critic) if one is not None) if offload else 0
    moved += resting_bytes(planned, case.sharding, processes)
    return needed + moved, counted.most - here


def process(rank: int, count: int, port: int, folder: Path) -> None:
    """Measure all cases together with the others; rank 1, which keeps no weights in main memory, writes them down."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    set_up_process(threads=1)
    with process_group():
        alignment.ROWS_TOGETHER = alignment.ROWS_IN_PIECES = ROWS  # there is no evaluation here, which has more rows than a step
        for case in CASES:
            found = lowest(partial(measured, case, count))
            if rank == 1:
                (folder / f"{case}.json").write_text(json.dumps(found), encoding="utf-8")
            distributed.barrier()
