"""How much prompts resemble each other: the share of their words that they have in common (Jaccard). Pure; numpy alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.trust.selection import Floats


@dataclass(frozen=True, slots=True)
class _Lists:
    """Lists of numbers, one after the other: millions of small ones take little memory."""

    numbers: NDArray[np.int64]
    ends: NDArray[np.int64]
    """(lists,) where each ends."""

    def __getitem__(self, place: int) -> NDArray[np.int64]:
        return self.numbers[self.ends[place - 1] if place else 0 : self.ends[place]]


@dataclass(frozen=True, slots=True)
class Words:
    """Words of some prompts, and for each word the prompts that have it: one prompt is so compared with all others at once."""

    of_prompt: _Lists
    with_word: _Lists
    sizes: NDArray[np.int64]
    """(prompts,) how many different words each has."""

    @classmethod
    def of(cls, prompts: Sequence[str]) -> Self:
        """The words of ``prompts``, letter case aside."""
        known: dict[str, int] = {}
        words = [{known.setdefault(word, len(known)) for word in prompt.lower().split()} for prompt in prompts]
        sizes = np.array([len(one) for one in words], dtype=np.int64)
        used = np.fromiter(chain.from_iterable(words), np.int64, count=int(sizes.sum()))
        having = np.repeat(np.arange(len(words)), sizes)[np.argsort(used, kind="stable")]
        by_word = np.bincount(used, minlength=len(known))
        return cls(_Lists(used, np.cumsum(sizes)), _Lists(having, np.cumsum(by_word)), sizes)

    def likeness(self, prompt: int) -> Floats:
        """(prompts,) the share of words, from 0 to 1, that each has in common with one of them; 1 where neither has a word."""
        having = [self.with_word[word] for word in self.of_prompt[prompt]]
        common = np.bincount(np.concatenate(having), minlength=len(self.sizes)) if having else np.zeros(len(self.sizes))
        union = self.sizes + self.sizes[prompt] - common
        return np.where(union > 0, common / np.maximum(union, 1), 1.0)
