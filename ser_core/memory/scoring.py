"""Bytes of a network that only scores: its matrices are kept as they are multiplied."""

from ser_core.memory.activations import MicroBatch, forward_bytes
from ser_core.memory.amounts import Amounts, amounts
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import HALF, NUMBER


def frozen_bytes(shape: ModelShape, *, half: bool, output: int = 0) -> int:
    """Bytes of its weights, ``output`` numbers of a language model's output layer included."""
    matrices = shape.matrices if half else 0
    return NUMBER * (shape.weights + output - matrices) + HALF * matrices


def scoring_bytes(shape: ModelShape, batch: MicroBatch, pieces: int) -> Amounts:
    """Bytes of one process that scores.

    Args:
        shape: Of the model.
        batch: The largest.
        pieces: Into how many its layers are cut; each is whole while it computes. 1: all are whole.
    """
    number = HALF if batch.half else NUMBER
    cut = number * shape.matrices if pieces > 1 else 0
    return amounts(
        {
            "weights": frozen_bytes(shape, half=batch.half) - cut + cut / pieces,
            "gathered layers": number * shape.layer if cut else 0,
            "activations": forward_bytes(shape, batch),
        }
    )
