"""What an alignment needs, phase by phase: policy and critic, which learn, and the networks that only score."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ser_core.memory.activations import MicroBatch, forward_bytes
from ser_core.memory.amounts import Amounts, amounts, most
from ser_core.memory.scoring import frozen_bytes, scoring_bytes
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import (
    HALF,
    NUMBER,
    Sharding,
    Training,
    backward_bytes,
    closing,
    gathered_bytes,
    gradient_bytes,
    kept_number,
    shardings,
    state_bytes,
    step_bytes,
    whole_again,
)

_LOGIT = 12
"""Bytes of each logit where no gradient is computed from it."""
IN_PIECES = Sharding(1, recompute=True, pieces=True)
"""Adapters whole, what lies below them always in pieces. Generation, too, makes one layer whole after the other, for each token."""
ALL_IN_PIECES = Sharding(3, recompute=True, pieces=True)
"""The same where all weights learn."""
ROWS_TOGETHER = 64
"""Answers that transformers generates together."""
ROWS_IN_PIECES = 16
"""The same with a policy in pieces: what it is cut for is room."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What decides the memory of an alignment."""

    policy: Training
    critic: Training | None
    """With all that does not learn of it; None: there is no critic."""
    shares_trunk: bool
    """Whether the critic's frozen weights are the policy's. The pieces of two engines at stage 3 are not shared."""
    reference: float
    """Bytes of the reference policy; 0: it is the policy without its adapter."""
    scorer: ModelShape
    """Of the reward model, and of the witness."""
    scored: MicroBatch
    """The largest batch of them."""
    prompt_tokens: int
    answer_tokens: int
    answers: int
    """Of a step, in all processes."""
    engine: float
    """Bytes of a generation engine beside the trainer; 0: transformers generates."""


def alignment_bytes(alignment: Alignment, sharding: Sharding, processes: int) -> Amounts:
    """Bytes of one process, by part, when it needs the most."""
    return most(_phases(alignment, sharding, processes))


def alignment_needs(alignment: Alignment, processes: int) -> dict[Sharding, Amounts]:
    """What each sharding of policy and critic that can be chosen needs, the fastest first."""
    possible = [one for one in shardings(processes) if not one.pieces]
    if processes > 1 and not alignment.engine:
        possible += [IN_PIECES] if alignment.policy.frozen else [ALL_IN_PIECES, replace(ALL_IN_PIECES, offload=True)]
    return {sharding: alignment_bytes(alignment, sharding, processes) for sharding in possible}


def resting_bytes(alignment: Alignment, sharding: Sharding, processes: int) -> float:
    """Bytes of one process's main memory for what only scores, where `Sharding.offload` keeps that there."""
    if not sharding.offload or sharding.pieces:
        return 0
    return (alignment.reference + 2 * _whole_scorer(alignment)) / processes


def _phases(alignment: Alignment, sharding: Sharding, processes: int) -> Iterator[Amounts]:
    policy, critic = alignment.policy, alignment.critic
    cut = sharding.stage == 3
    if critic is not None and alignment.shares_trunk and not cut:
        critic = replace(critic, frozen=0)
    learning = [policy] if critic is None else [policy, critic]
    frozen = amounts(
        {
            "reference policy": _reference_kept(alignment, sharding, processes),
            "reward model and witness": 2 * _scorer_kept(alignment, sharding, processes),
            "generation engine": alignment.engine,
        }
    )
    states = [state_bytes(one, sharding, processes) for one in learning]
    # At stage 3 an engine keeps its bucket from its first step on.
    buckets = [amounts({"buckets": NUMBER * one.bucket if cut and processes > 1 else 0}) for one in learning]
    held = sum(states, sum(buckets, frozen))
    alone = amounts({"weights": state_bytes(policy, replace(sharding, stage=min(2, sharding.stage)), processes).parts["weights"]})
    answers = -(-alignment.answers // processes)
    # A step; an evaluation, without the critic.
    most_rows = ROWS_IN_PIECES if sharding.pieces else ROWS_TOGETHER
    for weights, rows in ((held, min(most_rows, answers)), (frozen + alone, most_rows)):
        yield weights + _generation(alignment, sharding, rows=rows)
        yield weights + _scoring(alignment, sharding)
        yield weights + _forward(alignment, sharding)
        yield weights + _reference(alignment, sharding)
    # Both networks keep their gradients until both take their step.
    gradients = [gradient_bytes(one, sharding.stage, processes) for one in learning]
    kept = sum(gradients, held)
    for number, one in enumerate(learning):
        # At stage 1 the other engine's bucket stays until both have taken their step.
        others = sum(other.bucket for other in learning if other is not one) if processes > 1 and sharding.stage == 1 else 0
        yield from (kept + part + amounts({"buckets": NUMBER * others}) for part in backward_bytes(one, sharding, processes))
        yield sum(gradients[:number] + gradients[number + 1 :], held) + step_bytes(one, sharding, processes)
    if sharding.pieces:
        tables = [_table(policy), NUMBER * alignment.scorer.embeddings]
        yield kept + amounts({"gathered embeddings": max(tables)})
        if cut:
            yield frozen + closing(policy, sharding, processes)
        return
    # Before the first step the critic is whole beside the policy, which has no moments yet; at the end the policy is whole alone.
    yield frozen + whole_again(policy, sharding.stage, processes)
    if critic is not None:
        cut_policy = amounts({name: size for name, size in states[0].parts.items() if name != "moments"})
        yield frozen + cut_policy + whole_again(critic, sharding.stage, processes)


def _reference_kept(alignment: Alignment, sharding: Sharding, processes: int) -> float:
    """Bytes that a process keeps of the reference policy."""
    if not sharding.pieces:
        return 0 if sharding.offload else alignment.reference / (processes if sharding.stage == 3 else 1)
    cut = replace(alignment.policy, narrow=alignment.policy.batch.half).cut_bytes if alignment.reference else 0
    return alignment.reference - cut + cut / processes


def _scorer_kept(alignment: Alignment, sharding: Sharding, processes: int) -> float:
    """Bytes that a process keeps of a model that scores."""
    if sharding.pieces:
        return scoring_bytes(alignment.scorer, alignment.scored, processes).parts["weights"]
    return 0 if sharding.offload else _whole_scorer(alignment) / (processes if sharding.stage == 3 else 1)


def _whole_scorer(alignment: Alignment) -> float:
    return frozen_bytes(alignment.scorer, half=alignment.scored.half)


def _apart(sharding: Sharding) -> bool:
    """Whether what only scores is whole on a GPU only while it computes."""
    return (sharding.stage == 3 or sharding.offload) and not sharding.pieces


def _table(training: Training) -> float:
    """Bytes of the embeddings, if these are cut."""
    return 0 if training.logits and not training.shape.output else NUMBER * training.shape.embeddings


def _scoring(alignment: Alignment, sharding: Sharding) -> Amounts:
    """A forward pass of the reward model."""
    number = kept_number(alignment.scorer, half=alignment.scored.half)
    return amounts(
        {
            "whole reward model": _whole_scorer(alignment) if _apart(sharding) else 0,
            "gathered layers": number * alignment.scorer.layer if sharding.pieces else 0,
            "activations": forward_bytes(alignment.scorer, alignment.scored),
        }
    )


def _generation(alignment: Alignment, sharding: Sharding, *, rows: int) -> Amounts:
    """The weights as they are multiplied, the cache of keys and values, the prompts' forward pass and the logits of one token."""
    if alignment.engine:
        return amounts({})
    policy = alignment.policy
    shape, half = policy.shape, policy.batch.half
    copy = frozen_bytes(shape, half=half, output=shape.output) + NUMBER * (policy.trainable if policy.frozen else 0)
    prompts = MicroBatch(rows * alignment.prompt_tokens, alignment.prompt_tokens, half)
    tokens = rows * (alignment.prompt_tokens + alignment.answer_tokens)
    kept = amounts(
        {
            "whole copy of the policy": copy if sharding.stage == 3 and not sharding.pieces else 0,
            "casted copies": 0 if sharding.stage == 3 else _cached_casts(policy),
            "keys and values": 2 * tokens * shape.layers * shape.keys * (HALF if half else NUMBER),
        }
    )
    computed = {"activations": forward_bytes(shape, prompts), "logits": 3 * NUMBER * rows * shape.vocabulary}
    if not sharding.pieces:
        return kept + amounts(computed)
    layers = amounts({"gathered layers": gathered_bytes(policy, sharding), "casted copies": _casts_of_a_pass(policy), **computed})
    return kept + most((layers, amounts({"gathered embeddings": _table(policy)})))


def _forward(alignment: Alignment, sharding: Sharding) -> Amounts:
    """A forward pass of the policy whose activations are not kept."""
    policy = alignment.policy
    layers = amounts({"gathered layers": gathered_bytes(policy, sharding), "casted copies": _casts_of_a_pass(policy)})
    return layers + amounts({"activations": forward_bytes(policy.shape, policy.batch)}) + amounts({"logits": _LOGIT * policy.logits})


def _reference(alignment: Alignment, sharding: Sharding) -> Amounts:
    """A forward pass of the reference policy, if that is a network of its own."""
    policy = alignment.policy
    layer = kept_number(policy.shape, half=policy.batch.half) * policy.shape.layer if sharding.pieces and alignment.reference else 0
    whole = alignment.reference if _apart(sharding) else 0
    gathered = amounts({"whole reference policy": whole, "gathered layers": layer})
    return gathered + amounts({"activations": forward_bytes(policy.shape, policy.batch)}) + amounts({"logits": _LOGIT * policy.logits})


def _casts_of_a_pass(training: Training) -> float:
    """Bytes of a matrix that learns, as it is multiplied: one at a time."""
    return HALF * training.shape.largest if training.batch.half and not training.frozen else 0


def _cached_casts(training: Training) -> float:
    """While it generates, autocast keeps what it has converted of weights that learn."""
    return HALF * (training.shape.matrices + training.shape.output) if training.batch.half and not training.frozen else 0
