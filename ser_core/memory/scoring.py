"""Bytes of a network that only scores: its matrices are kept as they are multiplied."""

from ser_core.memory.activations import MicroBatch, forward_bytes
from ser_core.memory.amounts import Amounts, amounts, most
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import NUMBER, kept_number


def frozen_bytes(shape: ModelShape, *, half: bool, output: int = 0) -> float:
    """Bytes of its weights, ``output`` numbers of a language model's output layer included."""
    return NUMBER * (shape.weights + output - shape.matrices) + kept_number(shape, half=half) * shape.matrices


def scoring_bytes(shape: ModelShape, batch: MicroBatch, pieces: int) -> Amounts:
    """Bytes of one process that scores.

    Args:
        shape: Of the model.
        batch: The largest.
        pieces: Into how many layers and embeddings are cut; each is whole while it computes. 1: all are whole.
    """
    number = kept_number(shape, half=batch.half)
    weights, computing = frozen_bytes(shape, half=batch.half), amounts({"activations": forward_bytes(shape, batch)})
    if pieces == 1:
        return amounts({"weights": weights}) + computing
    cut = number * shape.matrices + NUMBER * shape.embeddings
    whole = most(
        (amounts({"gathered embeddings": NUMBER * shape.embeddings}), amounts({"gathered layers": number * shape.layer}) + computing)
    )
    return amounts({"weights": weights - cut + cut / pieces}) + whole
