"""Whether answers say anything new. Pure."""

import hashlib
from collections.abc import Sequence

_TRIPLE = 3


def repeated_triples(tokens: Sequence[int]) -> float:
    """Share of an answer's token triples that stood before in it, 0 where it has none.

    seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319) with n 3 in place of 4, since answers can be as short as a sentence.
    """
    triples = _triples(tokens)
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


def triple_numbers(tokens: Sequence[int]) -> list[int]:
    """A number below 2^63 for each of an answer's token triples, the same for equal triples.

    Different numbers of all answers, as a share of all, are distinct-n of Li et al. 2016 (arXiv 1510.03055) with n 3. They are Python's
    hashes: of whole numbers these are the same in every process.
    """
    return [hash(triple) & (2**63 - 1) for triple in _triples(tokens)]


def digest(tokens: Sequence[int]) -> int:
    """A number below 2^63 that is the same for equal answers alone, but for one chance in a million million."""
    text = ",".join(map(str, tokens)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 1


def _triples(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(tokens[start : start + _TRIPLE]) for start in range(len(tokens) - _TRIPLE + 1)]
