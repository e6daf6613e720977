"""The preference pairs: where they lie, and what their columns mean."""

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, model_validator

from ser_core.api.model import Model
from ser_core.api.spec.places import ColumnName, PlaceSpec
from ser_core.api.values.forms import NEW

Fraction = Annotated[float, Field(gt=0, lt=1)]

FOUND_IN_PROMPTS = ("prompt", "firstTurn")
"""Values of `splitBy` that a prompt tells; every other one is a column."""
SPLIT_BY_OF_FILES = "splitBy is for seed, unlabeled and heldout: with source, write it into source"
"""What is said of a `splitBy` beside a source, which has one of its own."""


COLUMN_PAIRS = (("chosen", "rejected"), ("response_1", "response_2"), ("score_1", "score_2"))
"""Keys of `Columns` of which one says nothing without the other."""


def pair_wanted(pair: tuple[str, str]) -> str:
    """What is said where one of two keys that go together is missing."""
    return f"{pair[0]} and {pair[1]} go together: name both"


class Columns(Model):
    """Which column of the data holds what, where the names are others than those of docs/data-formats.md. Other columns are ignored.

    The answers are `chosen` and `rejected`; or `response_1` and `response_2` with `better`, or with `score_1` and `score_2`."""

    prompt: ColumnName | None = None
    """The prompt, as text or messages. Left out: what `chosen` and `rejected` share."""
    system: ColumnName | None = None
    """A system message, which is put in front of the prompt."""
    chosen: ColumnName | None = None
    """The better answer."""
    rejected: ColumnName | None = None
    """The worse answer."""
    response_1: ColumnName | None = Field(default=None, alias="response_1")
    """One answer."""
    response_2: ColumnName | None = Field(default=None, alias="response_2")
    """The other answer."""
    better: ColumnName | None = None
    """Which of the two answers is better: 1, 2 or `tie`."""
    score_1: ColumnName | None = Field(default=None, alias="score_1")
    """A number for `response_1`. The answer with the higher one is better; equal ones are a tie."""
    score_2: ColumnName | None = Field(default=None, alias="score_2")
    """The number for `response_2`."""
    weight: ColumnName | None = None
    """A number above zero for each pair: its part in the loss, after all are scaled to a mean of 1. With `score_1` and `score_2` also the
    word `scores`, if no column is called so: the difference of the two."""
    margin: ColumnName | None = None
    """A number from 0 to 100 for each pair, in logits: the loss subtracts it from the difference of the pair's two scores, so that clear
    pairs are pushed further apart. With `score_1` and `score_2` also the word `scores`, as for `weight`."""
    id: ColumnName | None = None
    """The row's own name, which must not name two different pairs."""

    @model_validator(mode="after")
    def _both_of_a_pair(self, info: ValidationInfo) -> Self:
        for pair in COLUMN_PAIRS if info.context == NEW else ():
            if len([name for name in pair if getattr(self, name) is None]) == 1:
                raise ValueError(pair_wanted(pair))
        return self


class FileSpec(PlaceSpec):
    """One data file or dataset with preference pairs."""

    columns: Columns | None = None
    """Names of the columns; null where they are known (docs/data-formats.md)."""


class SourceSpec(FileSpec):
    """One labelled source that `prepare` splits into seed, pool and held-out."""

    seed_fraction: Fraction = 0.15
    """Share of the pairs whose labels may be used. The labels of the rest are hidden from every decision."""
    heldout_fraction: Fraction = 0.1
    """Share of the pairs that is held out: it is reported on and decides nothing."""
    split_by: str = Field(default="prompt", min_length=1, max_length=100)
    """Rows that share this value always stay together: `prompt`, `firstTurn` (a dialogue's first user turn), or any column."""

    @model_validator(mode="after")
    def _leaves_a_pool(self) -> Self:
        total = self.seed_fraction + self.heldout_fraction
        if total >= 1:
            raise ValueError(
                f"seedFraction {self.seed_fraction} + heldoutFraction {self.heldout_fraction} = {total:g} leaves no pool: "
                "keep the sum below 1"
            )
        return self


class DataSpec(Model):
    """Either one labelled `source` that is split, or the three files `seed`, `unlabeled` and `heldout`."""

    source: SourceSpec | None = None
    """One labelled source; the seed, the pool and the held-out part are split from it."""
    seed: FileSpec | None = None
    """Labelled pairs: the label budget."""
    unlabeled: FileSpec | None = None
    """Pairs to be labelled by the reward model. Labels found in it are hidden, and used only to report the agreement."""
    heldout: FileSpec | None = None
    """Labelled pairs that are reported on and decide nothing."""
    split_by: str | None = Field(default=None, min_length=1, max_length=100)
    """What holds rows of the three files together, as `source.splitBy` does: `prompt`, `firstTurn`, or a column that all three have. Left
    out: `prompt`."""
    dev_fraction: Fraction = 0.25
    """Rules paper and reference: share of the seed that becomes the dev part. It is never trained on. It fits the temperature, chooses the
    best loop, and ends the loops. Rule calibrated trains on every label, and decides on out-of-fold scores of the whole seed."""
    split_seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Random seed of the split alone, so that runs that differ in `training.seed` are measured on the same held-out pairs."""
    max_dropped_fraction: Fraction = 0.1
    """Share of unusable rows above which `prepare` fails instead of dropping them."""

    @property
    def group_by(self) -> str:
        """What pairs of one group share: `prompt`, `firstTurn`, or a column."""
        return self.source.split_by if self.source else self.split_by or "prompt"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        files = {"seed": self.seed, "unlabeled": self.unlabeled, "heldout": self.heldout}
        given = [name for name, value in files.items() if value is not None]
        missing = [name for name, value in files.items() if value is None]
        if self.source is not None and given:
            raise ValueError(f"source and {', '.join(given)} exclude each other: give source alone, or seed, unlabeled and heldout")
        if self.source is None and missing:
            raise ValueError(f"{', '.join(missing)} missing: give source alone, or seed, unlabeled and heldout")
        if self.source is not None and self.split_by is not None:
            raise ValueError(SPLIT_BY_OF_FILES)
        return self
