"""Token ids of long texts in little memory: a text is cut where its pieces have the ids of the whole, and each piece is tokenised alone.

A tokenizer needs 150 bytes for each byte of a text that it reads at once: 2.4 GB for a row of 16 MB. Few tokenizers say where a text may be
cut, so it is tried: around a place both sides together must have the ids of the whole.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Texts to their token ids."""

_PIECE = 100_000
"""Characters after which a text is cut."""
_TOGETHER = 1_000_000
"""Characters that are tokenised at once, by all threads of the tokenizer."""
_AROUND = 1_000
"""Characters on each side of a place that are looked at: what is further away does not reach a token's limits."""
_TRIES = 20
_PLACES = re.compile(r"(?<=\S)(?=\s)|(?<=\n)(?=\S)|(?<=\w)(?=[^\w\s])|(?<=[^\w\s])(?=\w)|(?<=[^\W\d])(?=\d)|(?<=\d)(?=[^\W\d])")
"""Where tokens mostly end: before white space, at the beginning of a line, between letters, digits and signs."""


def token_ids(encode: Encode, texts: Sequence[str]) -> list[Tokens]:
    """The ids that ``encode`` gives to each text, which may be long."""
    pieces = [(number, piece) for number, text in enumerate(texts) for piece in _pieces(encode, text)]
    found: list[list[Tokens]] = [[] for _ in texts]
    for together in batches([len(piece) for _, piece in pieces]):
        for member, ids in zip(together, encode([pieces[member][1] for member in together]), strict=True):
            found[pieces[member][0]].append(np.asarray(ids, dtype=np.int32))
    return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in found]


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts of these lengths that are tokenised at once; a longer one than that alone."""
    batch: list[int] = []
    size = 0
    for place, length in enumerate(lengths):
        if batch and size + length > _TOGETHER:
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += length
    if batch:
        yield batch


def _pieces(encode: Encode, text: str) -> Iterator[str]:
    start, near = 0, _PIECE
    while near + _AROUND < len(text):
        cut = _cut(encode, text, near)
        if cut is None:
            near += _PIECE
            continue
        yield text[start : cut[0]]
        start, near = cut[1], cut[1] + _PIECE
    yield text[start:]


def _cut(encode: Encode, text: str, near: int) -> tuple[int, int] | None:
    """End of one piece and beginning of the next, close to a place; None: there is none."""
    first = near - _AROUND
    around = text[first : near + _AROUND]
    (whole,) = encode([around])
    places = sorted((found.start() for found in _PLACES.finditer(around)), key=lambda place: abs(place - _AROUND))
    for end in islice(places, _TRIES):
        # Tokenizers that put a space before every text put it in place of the one that is left out.
        for begin in (end, end + 1) if around[end] == " " else (end,):
            left, right = encode([around[:end], around[begin:]])
            if [*left, *right] == list(whole):
                return first + end, first + begin
    return None
