"""What the stages of a run train, as its spec says: which weights learn, and with which batches."""

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.memory.activations import MicroBatch
from ser_core.memory.alignment import Alignment
from ser_core.memory.scoring import frozen_bytes
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import Training, logits_together, training_of

VLLM_SHARE = 0.3
"""Share of a GPU's memory that vLLM takes, for its copy of the weights and its cache. TRL's default too."""


def reward_batch(spec: SERRunSpec, *, rows: int) -> MicroBatch:
    """The largest batch of the reward model; ``rows`` that belong together are not parted, whatever the budget."""
    length = spec.reward_model.max_length
    return MicroBatch(max(spec.training.tokens_per_batch, rows * length), length, spec.reward_model.precision != "fp32")


def reward_training(spec: SERRunSpec, shape: ModelShape) -> Training:
    """Of the reward model."""
    return training_of(shape, spec.reward_model.adapter, reward_batch(spec, rows=2))


def policy_training(spec: SERRunSpec, shape: ModelShape) -> Training:
    """Of the policy."""
    assert spec.policy is not None
    length = spec.policy.row_tokens
    batch = MicroBatch(max(spec.training.tokens_per_batch, length), length, spec.policy.precision != "fp32")
    whole, logits = shape.weights + shape.output, logits_together(shape, batch)
    if spec.policy.adapter is None:
        return Training(shape, whole, 0, batch, logits)
    return Training(shape, spec.policy.adapter.rank * shape.sides, whole, batch, logits, narrow=batch.half)


def alignment_of(spec: SERRunSpec, reward: ModelShape, shape: ModelShape, room: float) -> Alignment:
    """Of policy and critic. ``room``: bytes of a GPU that may be used."""
    assert spec.policy is not None
    policy, adapted = policy_training(spec, shape), spec.policy.adapter is not None
    critic = Training(shape, policy.trainable, reward.weights if adapted else 0, policy.batch, narrow=policy.narrow)
    return Alignment(
        policy=policy,
        critic=None if spec.policy.advantage == "rloo" else critic,
        shares_trunk=_lies_on_the_policys_base(spec.reward_model, spec.policy) and not spec.loop.starts_from_previous,
        reference=0 if adapted else frozen_bytes(shape, half=policy.batch.half, output=shape.output),
        scorer=reward,
        scored=reward_batch(spec, rows=1),
        prompt_tokens=spec.policy.prompt_tokens,
        answer_tokens=spec.policy.answer_tokens,
        answers=spec.policy.rollouts_per_step,
        engine=VLLM_SHARE * room if spec.policy.generator == "vllm" else 0,
    )


def _lies_on_the_policys_base(reward: RewardModelSpec, policy: PolicySpec) -> bool:
    """Whether the critic goes on from the reward model's adapter, on weights that are the policy's too: a fine-tuned policy has others."""
    if reward.adapter is None or policy.adapter is None or policy.sft is not None:
        return False
    return (reward.base, reward.revision) == (policy.base, policy.revision) and reward.adapter.rank <= policy.adapter.rank
