"""What each stage of a run needs of a GPU, and whether it has it: one answer for the stage itself, `ser validate` and messages."""

from collections.abc import Iterator
from dataclasses import dataclass

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.resources import StageResources
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.memory.activations import MicroBatch
from ser_core.memory.alignment import Alignment, choose_alignment
from ser_core.memory.amounts import GIBIBYTE, Amounts, most, room_of
from ser_core.memory.host import Loading, host_bytes
from ser_core.memory.scoring import frozen_bytes, scoring_bytes
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import (
    Sharding,
    Training,
    choose_sharding,
    first_that_fits,
    logits_together,
    shardings,
    training_bytes,
    training_of,
)

ASSUMED_GPU = 80 * GIBIBYTE
"""Bytes of a GPU where neither the spec nor a device says them."""
VLLM_SHARE = 0.3
"""Share of a GPU's memory that vLLM takes, for its copy of the weights and its cache. TRL's default too."""


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
    host: Amounts
    """Bytes of a pod's main memory."""
    memory: int | None
    """Bytes of main memory that a pod may use; None: nobody said."""
    sharding: Sharding | None = None
    """How a training is spread."""
    pieces: int = 1
    """Into how many pieces the processes of a pod cut a network that labels; 1: each holds it whole."""

    @property
    def fits(self) -> bool:
        """Whether a GPU holds it."""
        return self.needs.total <= room_of(self.gpu_memory)

    @property
    def pod_holds_it(self) -> bool:
        """Whether a pod's main memory does."""
        return self.memory is None or self.host.total <= self.memory


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
    room, pieces, sharding = room_of(memory), 1, None
    if stage == "label":
        needs, pieces = _label(spec, models, room, wanted.gpus)
    else:
        needs, sharding = {"retrain": _retrain, "sft": _sft, "ppo": _ppo}[stage](spec, models, room, gpus)
    loading = _loading(stage, spec, models, wanted.gpus, whole=not (sharding.pieces if sharding is not None else pieces > 1))
    # From stage 1 on each process saves what it owns; at stage 3 it also falls back on that alone.
    saved, kept = (1 / wanted.nodes if sharding is not None and sharding.stage >= least else 1.0 for least in (1, 3))
    host = _host(stage, spec, models, wanted.gpus, loading, saved, kept)
    return StagePlan(stage, gpus, memory, wanted.gpu_memory_bytes is None, needs, host, wanted.memory_bytes, sharding, pieces)


def reward_batch(spec: SERRunSpec, *, rows: int, half: bool) -> MicroBatch:
    """The largest batch of the reward model; ``rows`` that belong together are not parted, whatever the budget."""
    length = spec.reward_model.max_length
    return MicroBatch(max(spec.training.tokens_per_batch, rows * length), length, half)


def _label(spec: SERRunSpec, models: Models, room: float, in_pod: int) -> tuple[Amounts, int]:
    assert models.reward is not None
    whole, cut = (_scoring(spec, models.reward, pieces) for pieces in (1, in_pod))
    return (whole, 1) if whole.total <= room or cut.total >= whole.total else (cut, in_pod)


def _retrain(spec: SERRunSpec, models: Models, room: float, processes: int) -> tuple[Amounts, Sharding]:
    assert models.reward is not None
    batch = reward_batch(spec, rows=2, half=spec.reward_model.precision != "fp32")
    training = training_of(models.reward, spec.reward_model.adapter, batch)
    needs = {
        sharding: most((training_bytes(training, sharding, processes), _scoring(spec, models.reward, processes if sharding.pieces else 1)))
        for sharding in shardings(processes)
    }
    sharding = first_that_fits(needs, room)
    return needs[sharding], sharding


def _scoring(spec: SERRunSpec, shape: ModelShape, pieces: int) -> Amounts:
    batch = reward_batch(spec, rows=1, half=spec.reward_model.precision != "fp32")
    return scoring_bytes(shape, batch, pieces)


def _sft(spec: SERRunSpec, models: Models, room: float, processes: int) -> tuple[Amounts, Sharding]:
    assert models.policy is not None
    training = _policy_training(spec, models.policy)
    sharding = choose_sharding(training, room, processes)
    return training_bytes(training, sharding, processes), sharding


def _ppo(spec: SERRunSpec, models: Models, room: float, processes: int) -> tuple[Amounts, Sharding]:
    assert spec.policy is not None
    assert models.policy is not None
    assert models.reward is not None
    policy, adapted = _policy_training(spec, models.policy), spec.policy.adapter is not None
    batch = reward_batch(spec, rows=1, half=spec.reward_model.precision != "fp32")
    below = models.reward.weights if adapted else 0
    critic = Training(models.policy, policy.trainable, below, policy.batch, narrow=policy.narrow)
    alignment = Alignment(
        policy=policy,
        critic=None if spec.policy.advantage == "rloo" else critic,
        shares_trunk=_lies_on_the_policys_base(spec.reward_model, spec.policy) and not spec.loop.starts_from_previous,
        reference=0 if adapted else frozen_bytes(models.policy, half=policy.batch.half, output=models.policy.output),
        scorer=models.reward,
        scored=batch,
        prompt_tokens=spec.policy.prompt_tokens,
        answer_tokens=spec.policy.answer_tokens,
        answers=spec.policy.rollouts_per_step,
        engine=VLLM_SHARE * room if spec.policy.generator == "vllm" else 0,
    )
    return choose_alignment(alignment, room, processes)


def _lies_on_the_policys_base(reward: RewardModelSpec, policy: PolicySpec) -> bool:
    """Whether the critic goes on from the reward model's adapter, on weights that are the policy's too: a fine-tuned policy has others."""
    if reward.adapter is None or policy.adapter is None or policy.sft is not None:
        return False
    return (reward.base, reward.revision) == (policy.base, policy.revision) and reward.adapter.rank <= policy.adapter.rank


def _loading(stage: str, spec: SERRunSpec, models: Models, in_pod: int, *, whole: bool) -> Loading:
    """What a pod reads, ``whole`` saying whether each process of the stage holds whole models. Those of a group get weights from rank 0."""
    own = {"label": (models.reward,), "retrain": (models.reward,), "sft": (models.policy,), "ppo": (models.reward, models.policy)}[stage]
    largest = max((shape for shape in own if shape is not None), key=lambda shape: shape.weights + shape.output)
    critic = 0
    if stage == "ppo" and whole and spec.policy is not None and spec.policy.advantage == "gae":
        assert models.reward is not None
        critic = in_pod * models.reward.weights  # it is compared with the policy
    return Loading(largest, in_pod if stage == "label" and whole else 1, critic)


def _host(stage: str, spec: SERRunSpec, models: Models, in_pod: int, loading: Loading, saved: float, kept: float) -> Amounts:
    """``saved``, ``kept``: the share of what learns that processes of a pod save, and keep to fall back on."""
    learning = fall_back = 0
    if stage == "retrain":
        assert models.reward is not None
        learning = training_of(models.reward, spec.reward_model.adapter, reward_batch(spec, rows=2, half=True)).trainable
    elif stage in ("sft", "ppo"):
        assert spec.policy is not None
        assert models.policy is not None
        networks = 2 if stage == "ppo" and spec.policy.advantage != "rloo" else 1
        learning = networks * _policy_training(spec, models.policy).trainable
        fall_back = learning if stage == "ppo" else 0
    return host_bytes(loading, learning=saved * learning, fall_back=kept * fall_back, in_pod=in_pod)


def _policy_training(spec: SERRunSpec, shape: ModelShape) -> Training:
    assert spec.policy is not None
    length = spec.policy.prompt_tokens + spec.policy.answer_tokens
    batch = MicroBatch(max(spec.training.tokens_per_batch, length), length, spec.policy.precision != "fp32")
    whole, logits = shape.weights + shape.output, logits_together(shape, batch)
    if spec.policy.adapter is None:
        return Training(shape, whole, 0, batch, logits)
    return Training(shape, spec.policy.adapter.rank * shape.sides, whole, batch, logits, narrow=batch.half)
