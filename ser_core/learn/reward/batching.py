"""Which rows are computed together: by tokens per batch, padding included, after sorting by length.

Training takes random steps and sorts inside each of them, so that the steps stay an unbiased sample. Scoring sorts
globally and computes every row in a shape that depends on its own length alone, because the last bits of a matrix product
depend on the shape of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.learn.reward.encoding import Row

_STEP = 16
_STEPS_PER_DOUBLING = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows and tokens of a batch, padding included."""

    rows: int
    length: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded tensors of shape (rows, length)."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_type_ids: torch.Tensor


def bucket_length(tokens: int, limit: int) -> int:
    """Length to which a row of ``tokens`` is padded for scoring: multiples of 16, above 256 of an eighth of the last power of two.

    There is room for one padding token at least (rows are shorter than ``limit``): transformers leaves the attention mask out when a batch
    has no padding, and then takes another kernel with other last bits.
    """
    needed = tokens + 1
    step = max(_STEP, (1 << ((needed - 1).bit_length() - 1)) // _STEPS_PER_DOUBLING)
    return min(-(-needed // step) * step, limit)


def scoring_batches(lengths: Sequence[int], tokens_per_batch: int, limit: int) -> list[tuple[Shape, list[int]]]:
    """Cut rows into batches of fixed shapes, longest first, so that a lack of memory shows at once.

    Args:
        lengths: Tokens of each row.
        tokens_per_batch: Tokens of one batch.
        limit: Positions of the model.

    Returns:
        For each batch its shape and the indices of its rows. The last batch of a shape may have fewer rows than the shape.
    """
    buckets: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        buckets.setdefault(bucket_length(length, limit), []).append(index)
    batches = []
    for length in sorted(buckets, reverse=True):
        shape = Shape(max(1, tokens_per_batch // length), length)
        members = buckets[length]
        batches += [(shape, members[start : start + shape.rows]) for start in range(0, len(members), shape.rows)]
    return batches


def epoch_order(pairs: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Order of the pairs in one pass: a function of the seed and the pass alone, so that a resumed training needs to know the step only."""
    return np.random.default_rng([seed, epoch]).permutation(pairs)


def steps_per_epoch(pairs: int, pairs_per_step: int) -> int:
    """Optimizer steps of one pass; the last one may be smaller."""
    return -(-pairs // pairs_per_step)


def pairs_of_step(step: int, pairs: int, pairs_per_step: int, seed: int) -> NDArray[np.int64]:
    """Indices of the pairs of optimizer step ``step`` (from 0, counted over all passes)."""
    epoch, within = divmod(step, steps_per_epoch(pairs, pairs_per_step))
    return epoch_order(pairs, seed, epoch)[within * pairs_per_step : (within + 1) * pairs_per_step]


def micro_batches(lengths: Sequence[int], tokens_per_batch: int, rows: int = 2) -> list[list[int]]:
    """Cut the pairs of one step into micro-batches, longest first. A pair is never split.

    Args:
        lengths: Tokens of each pair's longer row.
        tokens_per_batch: Tokens of one micro-batch, padding included. A pair that is longer alone gets a micro-batch of its own.
        rows: That belong together: the two of a pair, or 1.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and rows * longest * (len(batches[-1]) + 1) <= tokens_per_batch:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = lengths[index]
    return batches


def shares(lengths: Sequence[int], tokens_per_batch: int, processes: int, rows: int = 2) -> list[list[list[int]]]:
    """Micro-batches of each process, together the pairs of one step. All processes get the same number: some may be empty.

    Micro-batches that are computed at the same time are about as long.

    Args:
        lengths: Tokens of each pair's longer row.
        tokens_per_batch: As for `micro_batches`.
        processes: How many there are.
        rows: As for `micro_batches`.
    """
    cut = [
        [[own[at] for at in batch] for batch in micro_batches([lengths[index] for index in own], tokens_per_batch, rows)]
        for own in deal(lengths, processes)
    ]
    most = max(map(len, cut))
    return [batches + [[]] * (most - len(batches)) for batches in cut]


def deal(lengths: Sequence[int], processes: int) -> list[list[int]]:
    """Indices for each process, longest first, dealt by decreasing length there and back again: all are alike in number and lengths."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    turn = 2 * processes
    return [[index for place, index in enumerate(order) if place % turn in (process, turn - 1 - process)] for process in range(processes)]


def pad(rows: Sequence[Row], pad_token: int, shape: Shape | None = None) -> Batch:
    """Pad rows on the right, to the longest row or to ``shape``; missing rows of the shape become rows of one token."""
    shape = shape or Shape(len(rows), max(map(len, rows)))
    ids = np.full((shape.rows, shape.length), pad_token, dtype=np.int64)
    mask = np.zeros_like(ids)
    types = np.zeros_like(ids)
    mask[len(rows) :, 0] = 1  # attention over nothing at all would not be a number
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row.tokens
        mask[index, : len(row)] = 1
        types[index, row.second : len(row)] = row.segments
    return Batch(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(types))
