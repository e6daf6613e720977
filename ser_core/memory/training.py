"""Bytes of one training in each of its processes, and how it is spread so that it fits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.memory.activations import MicroBatch, activation_bytes, layer_bytes
from ser_core.memory.amounts import Amounts, amounts, most
from ser_core.memory.shape import ModelShape

NUMBER = 4
"""Bytes of a trained weight, a gradient and each of Adam's two moments: all fp32."""
HALF = 2
LARGEST_BUCKET = 50_000_000
"""Numbers that processes exchange together."""
LARGEST_UNSHARDED_BUCKET = 500_000_000
"""The same at ZeRO stage 0, where DeepSpeed takes no other size; the weight with which it is reached is in it."""
LARGEST_PART = 2**25
"""Numbers of each moment that a GPU has at once while moments are in main memory."""
LARGEST_LOGITS = 2**27
"""Numbers of logits that are computed together."""
_LOGIT = 16
"""Bytes of each: itself, and what its gradient is computed from."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a training is spread.

    Attributes:
        stage: ZeRO stage (Rajbhandari et al. 2020, arXiv 1910.02054): 0 every process has everything, 1 the optimizer is cut into
            pieces, 2 the gradients too, 3 the weights too.
        recompute: Whether the backward pass computes each layer's activations again (gradient checkpointing).
        pieces: Whether layers are in pieces also when nothing is trained, and score so: those below an adapter, or all. At stage 3
            DeepSpeed cuts them while it trains; below, they are in pieces from the beginning (`ser_core.learn.compute.pieces`).
        offload: Whether main memory has the optimizer's moments, and in an alignment what only scores, unless that is always in pieces.
    """

    stage: int
    recompute: bool
    pieces: bool = False
    offload: bool = False

    def __str__(self) -> str:
        again = ", activations computed again" if self.recompute else ""
        pieces = ", layers always in pieces" if self.pieces else ""
        return f"ZeRO-{self.stage}{again}{pieces}{', moments in main memory' if self.offload else ''}"


UNSHARDED = Sharding(0, recompute=False)


@dataclass(frozen=True, slots=True)
class Training:
    """What decides the memory of a training: the model, which of its weights learn, and the micro-batch."""

    shape: ModelShape
    trainable: int
    frozen: int
    batch: MicroBatch
    """Of the longest rows."""
    logits: int = 0
    """Numbers of logits that are computed together; 0: a network that scores."""
    narrow: bool = False
    """Whether matrices that do not learn are kept in bf16."""

    @property
    def number(self) -> float:
        """Of a number in the layers' matrices that do not learn."""
        return kept_number(self.shape, half=self.narrow)

    @property
    def frozen_bytes(self) -> float:
        """Of the weights that do not learn."""
        matrices = min(self.shape.matrices, self.frozen)
        return NUMBER * (self.frozen - matrices) + self.number * matrices

    @property
    def cut_bytes(self) -> float:
        """Of them, those of the layers' matrices, and of the embeddings where no output layer shares them."""
        embeddings = 0 if self.logits and not self.shape.output else NUMBER * self.shape.embeddings
        has_own = self.frozen or self.trainable > self.shape.matrices  # an adapter on weights of another network has none
        return self.number * self.shape.matrices + embeddings if has_own else 0

    @property
    def bucket(self) -> int:
        """Numbers that processes exchange together; DeepSpeed asks for an even number."""
        return 2 * -(-min(LARGEST_BUCKET, self.trainable) // 2)

    @property
    def unsharded_bucket(self) -> int:
        """Numbers that processes exchange together at ZeRO stage 0."""
        return min(LARGEST_UNSHARDED_BUCKET + self.shape.largest, self.trainable)

    @property
    def gathered(self) -> int:
        """Numbers of whole weights held at once where weights are cut into pieces: two layers, so that one can be fetched ahead."""
        return min(2 * self.shape.layer, self.trainable + self.frozen)


def kept_number(shape: ModelShape, *, half: bool) -> float:
    """Bytes of a number in the layers' matrices where they do not learn; ``half``: products are bf16, but for those of experts."""
    if not half or not shape.matrices:
        return NUMBER
    return HALF + (NUMBER - HALF) * shape.experts / shape.matrices


def training_of(shape: ModelShape, adapter: AdapterSpec | None, batch: MicroBatch) -> Training:
    """The training of a scoring network: all its weights, or an adapter beside frozen ones."""
    if adapter is None:
        return Training(shape, shape.weights, 0, batch)
    return Training(shape, adapter.rank * shape.sides + shape.hidden, shape.weights, batch, narrow=batch.half)


def logits_together(shape: ModelShape, batch: MicroBatch) -> int:
    """Numbers of logits that a language model computes together, all tokens of the batch being an answer's."""
    whole = batch.tokens * shape.vocabulary
    return whole if shape.reworks_logits else min(whole, max(LARGEST_LOGITS, shape.vocabulary))


def training_bytes(training: Training, sharding: Sharding, processes: int) -> Amounts:
    """Bytes of one process, by part, when it needs the most: in a backward pass, in a step of the optimizer, or when the network is made
    whole again at the end."""
    states = state_bytes(training, sharding, processes)
    gradients = gradient_bytes(training, sharding.stage, processes)
    passes = [states + gradients + one for one in backward_bytes(training, sharding, processes)]
    return most((*passes, states + step_bytes(training, sharding, processes), closing(training, sharding, processes)))


def step_bytes(training: Training, sharding: Sharding, processes: int) -> Amounts:
    """What a step of the optimizer needs beside states. From stage 1 on, the gradients of a process's piece are copied to one tensor, and
    all others are gone."""
    return amounts(
        {
            "gradients": NUMBER * training.trainable * (2 / processes if sharding.stage else 1),
            # Without pieces gradients are exchanged when the backward pass is over.
            "buckets": NUMBER * training.unsharded_bucket if processes > 1 and not sharding.stage else 0,
            "moments": _fetched_bytes(training, sharding, processes),
        }
    )


def _fetched_bytes(training: Training, sharding: Sharding, processes: int) -> float:
    """The moments that a GPU has at once in a step of the optimizer while they are in main memory: of a weight, or of a process's piece."""
    whole = training.trainable / processes if processes > 1 else min(training.trainable, training.shape.largest)
    return 2 * NUMBER * min(LARGEST_PART, whole) if sharding.offload else 0


def gradient_bytes(training: Training, stage: int, processes: int) -> Amounts:
    """The gradients that a process keeps until the step. At stage 2 they are those of all weights that begin or end in its piece."""
    if stage < 2:
        return amounts({"gradients": NUMBER * training.trainable})
    around = training.shape.largest if stage == 2 and not training.frozen else 0
    return amounts({"gradients": NUMBER * min(training.trainable, training.trainable / processes + around)})


def backward_bytes(training: Training, sharding: Sharding, processes: int) -> tuple[Amounts, ...]:
    """What the passes through the layers, and through a language model's output layer, need beside states and gradients."""
    bucket = NUMBER * training.bucket if processes > 1 else 0
    buckets = amounts({"buckets": (0, bucket, bucket, 2 * bucket)[sharding.stage]})
    layers = amounts(
        {
            "activations": activation_bytes(training.shape, training.batch, recompute=sharding.recompute),
            "casted copies": _casts(training, recompute=sharding.recompute),
            "gathered layers": gathered_bytes(training, sharding),
        }
    )
    passes = [buckets + layers]
    if training.logits:
        passes.append(buckets + _output(training, sharding))
    if sharding.stage == 2:
        passes += _exchanges(training, layers, gradient_bytes(training, 2, processes))
    return tuple(passes)


def _exchanges(training: Training, layers: Amounts, gradients: Amounts) -> Iterator[Amounts]:
    """What a backward pass at stage 2 needs, beside the gradients of the micro-batches before, when it has filled a bucket.

    While processes exchange a bucket it is there twice. Then those of its numbers that a process keeps are copied to where all that it
    keeps of this micro-batch will be; the process of the last weights is the first to need that place. Layers whose gradients are done
    have freed what they had kept, but for the one that is computed.

    Args:
        training: Its sizes.
        layers: What the pass needs before.
        gradients: What a process keeps of one micro-batch.
    """
    bucket, share = NUMBER * training.bucket, training.bucket / max(1, training.trainable)
    one = layer_bytes(training.shape, training.batch) * training.batch.tokens

    def after(full: int) -> Amounts:
        left = max(0.0, 1 - full * share)
        return amounts({name: size * left for name, size in layers.parts.items()}) + amounts({"activations": one * (1 - left)})

    yield after(1) + amounts({"buckets": 2 * bucket})
    yield after(1) + amounts({"buckets": bucket}) + gradients
    if share < 1:
        yield after(2) + amounts({"buckets": 2 * bucket}) + gradients


def gathered_bytes(training: Training, sharding: Sharding) -> float:
    """Whole weights of layers that are in pieces, while these compute."""
    if sharding.stage == 3:
        return training.number * training.gathered
    return training.number * training.shape.layer if sharding.pieces else 0


def shardings(processes: int) -> Iterator[Sharding]:
    """All that can be chosen, the fastest first: cutting optimizer and gradients costs little, computing again a third, cutting weights
    more, then come moments in main memory, and layers that are never whole together.

    Stage 3 always computes again: else each layer's weights, once gathered and cast, would be kept for its backward pass. Moments that
    several processes keep in main memory are in pieces: a pod has one main memory.
    """
    whole = [Sharding(stage, recompute) for recompute, stage in product((False, True), range(3) if processes > 1 else range(1))]
    if processes > 1:
        whole.append(Sharding(3, recompute=True))
    yield from whole
    yield from (replace(one, offload=True) for one in whole if one.stage or processes == 1)
    if processes > 1:
        yield Sharding(3, recompute=True, pieces=True)
        yield Sharding(3, recompute=True, pieces=True, offload=True)


def first_that_fits(needs: Mapping[Sharding, Amounts], room: float) -> Sharding:
    """The fastest sharding that fits, of some in their order; the one that needs the least where none does."""
    fitting = (sharding for sharding, need in needs.items() if need.total <= room)
    return next(fitting, min(needs, key=lambda sharding: needs[sharding].total))


def choose_sharding(training: Training, room: float | None, processes: int) -> Sharding:
    """The fastest sharding that fits without main memory; the one that needs the least where none does.

    Args:
        training: What is trained.
        room: Bytes of a GPU that may be used; None: there is no GPU, and main memory is taken to suffice.
        processes: How many share the work.
    """
    if room is None:
        return Sharding(0, recompute=False)
    possible = (sharding for sharding in shardings(processes) if not sharding.offload)
    return first_that_fits({sharding: training_bytes(training, sharding, processes) for sharding in possible}, room)


def state_bytes(training: Training, sharding: Sharding, processes: int) -> Amounts:
    """What stays from step to step. From stage 1 on, the optimizer has a copy of its piece of the weights."""
    trainable, stage = NUMBER * training.trainable, sharding.stage
    cut = training.cut_bytes if sharding.pieces and stage < 3 else 0
    return amounts(
        {
            "weights": (trainable + training.frozen_bytes - cut) / (processes if stage == 3 else 1) + cut / processes,
            "copies of the optimizer": trainable / processes if stage else 0,
            "moments": 0 if sharding.offload else moments_bytes(training, sharding, processes),
        }
    )


def moments_bytes(training: Training, sharding: Sharding, processes: int) -> float:
    """Of one process, on its GPU or in main memory."""
    return 2 * NUMBER * training.trainable / (processes if sharding.stage else 1)


def closing(training: Training, sharding: Sharding, processes: int) -> Amounts:
    """After a training in several processes: what DeepSpeed holds of the weights, and what takes their place."""
    if not sharding.pieces:
        return whole_again(training, sharding.stage, processes)
    trained, cut, shape = NUMBER * training.trainable, training.cut_bytes, training.shape
    pieces = amounts({"pieces of the weights": (trained + training.frozen_bytes) / processes})
    # The first weight is the table of embeddings; it is copied before it is cut. The last one that is large is an output layer.
    last = NUMBER * (shape.output or shape.embeddings) if training.logits else 0
    first = amounts({"gathered layers": 2 * NUMBER * shape.embeddings})
    return pieces + most((first, amounts({"weights": trained + training.frozen_bytes - cut + cut / processes, "gathered layers": last})))


def whole_again(training: Training, stage: int, processes: int) -> Amounts:
    """After a training in several processes: what DeepSpeed holds of the weights, and the weights that take their place."""
    trained, weights = NUMBER * training.trainable, NUMBER * training.trainable + training.frozen_bytes
    replaced = (0, trained, trained, weights / processes)[stage]
    return amounts({"weights": weights, "pieces of the weights": replaced})


def _casts(training: Training, *, recompute: bool) -> float:
    """bf16 copies of matrices: each stays until its layer's backward pass is over."""
    if not training.batch.half:
        return 0
    if training.narrow:
        return HALF * training.trainable / (training.shape.layers if recompute else 1)
    return HALF * (training.shape.layer if recompute else training.shape.matrices)


def _output(training: Training, sharding: Sharding) -> Amounts:
    """The output layer's forward and backward pass; what the layers keep is there, but none is computed again yet."""
    shape, batch = training.shape, training.batch
    one = layer_bytes(shape, batch) * batch.tokens if sharding.recompute else 0
    matrix = shape.vocabulary * shape.hidden
    learns = training.trainable > training.frozen
    return amounts(
        {
            "activations": activation_bytes(shape, batch, recompute=sharding.recompute) - one,
            "casted copies": (0 if sharding.recompute else _casts(training, recompute=False)) + (HALF * matrix if batch.half else 0),
            "gathered layers": NUMBER * matrix if sharding.stage == 3 else 0,
            "logits": training.logits * _LOGIT,
            "gradient of the output layer": NUMBER * matrix if learns else 0,
        }
    )
