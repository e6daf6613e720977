"""What each stage of a run needs of a GPU, and whether it has it: one answer for the stage itself, `ser validate` and messages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.resources import StageResources
from ser_core.api.spec.training import MIN_TOKENS_PER_BATCH
from ser_core.memory.alignment import Alignment, alignment_needs, resting_bytes
from ser_core.memory.amounts import GIBIBYTE, Amounts, amounts, most, room_of
from ser_core.memory.host import Loading, host_bytes
from ser_core.memory.learners import alignment_of, policy_training, reward_batch, reward_training
from ser_core.memory.scoring import scoring_bytes
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import Sharding, Training, moments_bytes, shardings, training_bytes

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
    host: Amounts
    """Bytes of a pod's main memory."""
    memory: int | None
    """Bytes of main memory that a pod may use; None: nobody said."""
    sharding: Sharding | None = None
    """How a training is spread."""
    pieces: int = 1
    """Into how many pieces the processes of a pod cut a network that labels; 1: each holds it whole."""
    tokens: int | None = None
    """Tokens per batch where they are fewer than the spec's; None: the spec's."""

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
    least: StagePlan | None = None
    for one in _tried(stage, spec, models, wanted):
        if one.fits:
            return one
        least = one if least is None or one.needs.total < least.needs.total else least
    return least


def _tried(stage: str, spec: SERRunSpec, models: Models, wanted: StageResources) -> Iterator[StagePlan]:
    """All that can be chosen, the fastest first: smaller batches cost less than main memory, or layers that are never whole together."""
    slow = []
    for tokens in _budgets(stage, spec):
        own = spec.model_copy(update={"training": spec.training.model_copy(update={"tokens_per_batch": tokens})})
        fewer = tokens if tokens < spec.training.tokens_per_batch else None
        for one in (_labellings if stage == "label" else _trainings)(stage, own, models, wanted):
            found = replace(one, tokens=fewer)
            if one.pieces > 1 or (one.sharding is not None and (one.sharding.pieces or one.sharding.offload)):
                slow.append(found)
            else:
                yield found
    yield from slow


def _budgets(stage: str, spec: SERRunSpec) -> Iterator[int]:
    """Tokens per batch: the spec's, and halves of it down to the longest row, which is not parted."""
    tokens, longest = spec.training.tokens_per_batch, spec.reward_model.max_length
    if stage in ("sft", "ppo") and spec.policy is not None:
        longest = spec.policy.row_tokens
    yield tokens
    while tokens > max(longest, MIN_TOKENS_PER_BATCH):
        tokens = max(tokens // 2, MIN_TOKENS_PER_BATCH)
        yield tokens


def _labellings(stage: str, spec: SERRunSpec, models: Models, wanted: StageResources) -> Iterator[StagePlan]:
    """With a model that each process holds whole, and with one in pieces."""
    assert models.reward is not None
    for pieces in (1, wanted.gpus)[: wanted.gpus]:
        host = host_bytes(_loading(stage, spec, models, wanted.gpus, whole=pieces == 1), in_pod=wanted.gpus)
        yield replace(_empty(stage, wanted), needs=_scoring(spec, models.reward, pieces), host=host, pieces=pieces)


def _trainings(stage: str, spec: SERRunSpec, models: Models, wanted: StageResources) -> Iterator[StagePlan]:
    """With each sharding. Main memory takes over only where the spec says that there is enough."""
    empty = _empty(stage, wanted)
    for sharding, needs in _needs(stage, spec, models, room_of(empty.gpu_memory), empty.gpus).items():
        host = _host(stage, spec, models, wanted, sharding)
        if not sharding.offload or host.total <= (wanted.memory_bytes or 0):
            yield replace(empty, needs=needs, host=host, sharding=sharding)


def _empty(stage: str, wanted: StageResources) -> StagePlan:
    """The plan of what needs nothing."""
    gpu, nothing = wanted.gpu_memory_bytes, amounts({})
    return StagePlan(stage, wanted.gpus * wanted.nodes, gpu or ASSUMED_GPU, gpu is None, nothing, nothing, wanted.memory_bytes)


def _needs(stage: str, spec: SERRunSpec, models: Models, room: float, processes: int) -> dict[Sharding, Amounts]:
    """Bytes of each process of a training, the fastest sharding first."""
    if stage == "ppo":
        return alignment_needs(_alignment(spec, models, room), processes)
    (training,) = _trained(stage, spec, models)
    needs = {one: training_bytes(training, one, processes) for one in shardings(processes)}
    if stage == "sft":
        return needs
    assert models.reward is not None
    scores = {pieces: _scoring(spec, models.reward, processes if pieces else 1) for pieces in (False, True)}
    return {one: most((need, scores[one.pieces])) for one, need in needs.items()}


def _trained(stage: str, spec: SERRunSpec, models: Models) -> list[Training]:
    """What learns in a stage."""
    if stage == "retrain":
        assert models.reward is not None
        return [reward_training(spec, models.reward)]
    if stage == "sft":
        assert models.policy is not None
        return [policy_training(spec, models.policy)]
    aligned = _alignment(spec, models, room=0)
    return [one for one in (aligned.policy, aligned.critic) if one is not None]


def _alignment(spec: SERRunSpec, models: Models, room: float) -> Alignment:
    assert models.reward is not None
    assert models.policy is not None
    return alignment_of(spec, models.reward, models.policy, room)


def _scoring(spec: SERRunSpec, shape: ModelShape, pieces: int) -> Amounts:
    return scoring_bytes(shape, reward_batch(spec, rows=1), pieces)


def _loading(stage: str, spec: SERRunSpec, models: Models, in_pod: int, *, whole: bool) -> Loading:
    """What a pod reads, ``whole`` saying whether each process of the stage holds whole models. Those of a group get weights from rank 0."""
    own = {"label": (models.reward,), "retrain": (models.reward,), "sft": (models.policy,), "ppo": (models.reward, models.policy)}[stage]
    largest = max((shape for shape in own if shape is not None), key=lambda shape: shape.weights + shape.output)
    critic = 0
    if stage == "ppo" and whole and spec.policy is not None and spec.policy.advantage == "gae":
        assert models.reward is not None
        critic = in_pod * models.reward.weights  # it is compared with the policy
    return Loading(largest, in_pod if stage == "label" and whole else 1, critic)


def _host(stage: str, spec: SERRunSpec, models: Models, wanted: StageResources, sharding: Sharding) -> Amounts:
    """Bytes of a pod's main memory in a training. From stage 1 on each process saves what it owns; at stage 3 it also falls back on that
    alone."""
    trained, processes = _trained(stage, spec, models), wanted.gpus * wanted.nodes
    learning = sum(one.trainable for one in trained)
    saved, kept = (learning / wanted.nodes if sharding.stage >= least else learning for least in (1, 3))
    moments = sum(moments_bytes(one, sharding, processes) for one in trained) if sharding.offload else 0
    resting = resting_bytes(_alignment(spec, models, room=0), sharding, processes) if stage == "ppo" else 0
    return host_bytes(
        _loading(stage, spec, models, wanted.gpus, whole=not sharding.pieces),
        learning=saved,
        fall_back=kept if stage == "ppo" else 0,
        moments=wanted.gpus * moments,
        resting=wanted.gpus * resting,
        in_pod=wanted.gpus,
    )
