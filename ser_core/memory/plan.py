"""What each stage of a run needs of a GPU, and whether it has it: one answer for the stage itself, `ser validate` and messages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ser_core.api.serrun import SERRunSpec, StageResources
from ser_core.memory.activations import MicroBatch, forward_bytes
from ser_core.memory.amounts import GIBIBYTE, Amounts, amounts, most, room_of
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import HALF, NUMBER, Sharding, Training, choose_sharding, logits_together, training_bytes, training_of

ASSUMED_GPU = 80 * GIBIBYTE
"""Bytes of a GPU where neither the spec nor a device says them."""


@dataclass(frozen=True, slots=True)
class Models:
    """The base models of a run, or those that one stage needs."""

    reward: ModelShape | None = None
    policy: ModelShape | None = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one stage needs."""

    stage: str
    """Its name in ``resources``."""
    gpus: int
    """Of all its pods together."""
    gpu_memory: int
    """Bytes of one GPU."""
    assumed: bool
    """Whether nobody said how large a GPU is."""
    needs: Amounts
    """Bytes on each GPU."""
    sharding: Sharding | None = None
    """How a training is spread."""

    @property
    def fits(self) -> bool:
        """Whether a GPU holds it."""
        return self.needs.total <= room_of(self.gpu_memory)


def plans(spec: SERRunSpec, models: Models) -> Iterator[StagePlan]:
    """The plan of each kind of stage that computes on GPUs, in the order of ``spec.resources``."""
    for stage in ("label", "retrain", "sft", "ppo"):
        found = plan(stage, spec, models, getattr(spec.resources, stage))
        if found is not None:
            yield found


def plan(stage: str, spec: SERRunSpec, models: Models, wanted: StageResources) -> StagePlan | None:
    """What a stage needs with some resources; None: it uses no GPU, or the run does not have it."""
    gpus = wanted.gpus * wanted.nodes
    if not gpus or (stage in ("sft", "ppo") and (spec.policy is None or models.policy is None)):
        return None
    if stage == "sft" and (spec.policy is None or spec.policy.sft is None):
        return None
    memory = wanted.gpu_memory_bytes or ASSUMED_GPU
    needs, sharding = {"label": _label, "retrain": _retrain, "sft": _sft, "ppo": _ppo}[stage](spec, models, room_of(memory), gpus)
    return StagePlan(stage, gpus, memory, wanted.gpu_memory_bytes is None, needs, sharding)


def reward_batch(spec: SERRunSpec, *, rows: int, half: bool) -> MicroBatch:
    """The largest batch of the reward model; ``rows`` that belong together are not parted, whatever the budget."""
    length = spec.reward_model.max_length
    return MicroBatch(max(spec.training.tokens_per_batch, rows * length), length, half)


def _label(spec: SERRunSpec, models: Models, room: float, processes: int) -> tuple[Amounts, None]:
    assert models.reward is not None
    return _scoring(spec, models.reward), None


def _retrain(spec: SERRunSpec, models: Models, room: float, processes: int) -> tuple[Amounts, Sharding]:
    assert models.reward is not None
    batch = reward_batch(spec, rows=2, half=spec.reward_model.precision != "fp32")
    training = training_of(models.reward, spec.reward_model.adapter, batch)
    sharding = choose_sharding(training, room, processes)
    return most((training_bytes(training, sharding, processes), _scoring(spec, models.reward))), sharding


def _scoring(spec: SERRunSpec, shape: ModelShape) -> Amounts:
    batch = reward_batch(spec, rows=1, half=spec.reward_model.precision != "fp32")
    return amounts({"weights": _frozen(shape, half=batch.half), "activations": forward_bytes(shape, batch)})


def _frozen(shape: ModelShape, *, half: bool, output: int = 0) -> int:
    """Bytes of a network that only scores: its matrices are kept as they are multiplied."""
    matrices = shape.matrices if half else 0
    return NUMBER * (shape.weights + output - matrices) + HALF * matrices


def _sft(spec: SERRunSpec, models: Models, room: float, processes: int) -> tuple[Amounts, Sharding]:
    assert models.policy is not None
    training = _policy_training(spec, models.policy)
    training = replace(training, logits=logits_together(models.policy, training.batch))
    sharding = choose_sharding(training, room, processes)
    return training_bytes(training, sharding, processes), sharding


def _ppo(spec: SERRunSpec, models: Models, room: float, processes: int) -> tuple[Amounts, None]:
    """Every process holds everything: policy and critic with what trains them, and the frozen networks."""
    assert spec.policy is not None
    assert models.policy is not None
    assert models.reward is not None
    policy = _policy_training(spec, models.policy)
    kept = amounts({"weights kept to fall back on": 2 * NUMBER * policy.trainable})
    half, adapted = policy.batch.half, spec.policy.adapter is not None
    # A critic whose weights are the policy's own shares them; that of another model cannot.
    shares = adapted and models.reward.weights == models.policy.weights
    critic = amounts({"critic": 4 * NUMBER * policy.trainable + (NUMBER * models.reward.weights if adapted and not shares else 0)})
    reference = 0 if adapted else _frozen(models.policy, half=half, output=models.policy.output)
    scorers = 2 * _frozen(models.reward, half=spec.reward_model.precision != "fp32")
    frozen = amounts({"reference policy": reference, "reward model and witness": scorers})
    learning = training_bytes(policy, Sharding(0, recompute=False), 1) + _logits(spec, models.policy, policy)
    return learning + kept + critic + frozen, None


def _policy_training(spec: SERRunSpec, shape: ModelShape) -> Training:
    assert spec.policy is not None
    length = spec.policy.prompt_tokens + spec.policy.answer_tokens
    batch = MicroBatch(max(spec.training.tokens_per_batch, length), length, spec.policy.precision != "fp32")
    whole = shape.weights + shape.output
    if spec.policy.adapter is None:
        return Training(shape, whole, 0, batch)
    return Training(shape, spec.policy.adapter.rank * shape.sides, whole, batch)


def _logits(spec: SERRunSpec, shape: ModelShape, training: Training) -> Amounts:
    """Of the tokens of answers alone: as the head gives them, in fp32, and their gradient."""
    assert spec.policy is not None
    share = spec.policy.answer_tokens / (spec.policy.prompt_tokens + spec.policy.answer_tokens)
    return amounts({"logits": training.batch.tokens * share * shape.vocabulary * ((HALF if training.batch.half else 0) + 2 * NUMBER)})
