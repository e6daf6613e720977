"""What is to be run: each cell is one arm on one split of one data set."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.science.sets import GROUP, SETS, DataSet

SEEDS = range(5)
BUDGETS = (0.15, 0.05, 0.3)
HELDOUT = 0.25
PAPER_SHARE = 0.08
"""Of the pool: `minSamples` of rule paper, whose 600 pairs are meant for pools of the paper's size."""
DEV = 0.02
"""Dev part of paper and reference, which decide by fixed thresholds: nearly every label trains."""
FEWEST_DEV = 2
"""Pairs that it needs; where there would be fewer, it gets one to spare."""
LOOPS = 2
BEFORE = {"targetPrecision": 0.9}
"""The default of version 0.1.0: what says it, and no `folds`, follows its rule."""
RULES = ("calibrated", "paper", "reference", "before")
"""`before` is calibrated as version 0.1.0 had it. A run of rule calibrated also gives the arms seed and the controls, and the two
filters are trained beside it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run and the arms that it measures."""

    data_set: str
    budget: float
    seed: int
    """Of the split and of the training."""
    rule: str

    @property
    def name(self) -> str:
        """Of its SERRun."""
        return f"{self.data_set}-{round(100 * self.budget)}-{self.seed}-{self.rule}"


def cells(sets: Collection[str], seeds: Collection[int] = SEEDS) -> Iterator[Cell]:
    """All cells in the order of their worth: the sets at the usual budget first, seed by seed, so that arms can be compared early."""
    for budget in BUDGETS:
        for name in (name for name in SETS if name in sets):
            if budget == BUDGETS[0] or name == "docs-700":
                for seed in seeds:
                    for rule in RULES:
                        yield Cell(name, budget, seed, rule)


def document(cell: Cell, pairs: Path, count: int, model: Path, store: Path) -> dict[str, Any]:
    """The SERRun of a cell.

    Args:
        cell: Which one.
        pairs: The set's file.
        count: Pairs in it.
        model: The encoder.
        store: Where the run stores.
    """
    chosen: DataSet = SETS[cell.data_set]
    pool = count * (1 - HELDOUT - cell.budget)
    own_rule = cell.rule == "calibrated"
    labels = count * cell.budget
    dev = DEV if DEV * labels >= FEWEST_DEV else round((FEWEST_DEV + 1) / labels, 4)
    if cell.rule == "before":
        loop: dict[str, Any] = {"rule": "calibrated", "thresholds": BEFORE}
    elif own_rule:
        loop = {"rule": "calibrated", "controls": ["full", "seedOnly", "pseudoLabelOnce"]}
    else:
        loop = {"rule": cell.rule, "thresholds": {"minSamples": round(PAPER_SHARE * pool)}}
    return {
        "apiVersion": "ser.dev/v1alpha1",
        "kind": "SERRun",
        "metadata": {"name": cell.name},
        "spec": {
            "rewardModel": {
                "base": f"file://{model}",
                "maxLength": chosen.max_length,
                "adapter": {"rank": 8, "alpha": 16},
                "precision": "fp32",
            },
            "data": {
                "source": {"uri": f"file://{pairs}", "seedFraction": cell.budget, "heldoutFraction": HELDOUT, "splitBy": GROUP},
                "splitSeed": cell.seed,
                "devFraction": 0.25 if cell.rule in ("calibrated", "before") else dev,
            },
            "training": {"epochs": 4, "learningRate": 1e-3, "pairsPerStep": 8, "tokensPerBatch": 2048, "seed": cell.seed},
            "loop": loop | {"maxIterations": LOOPS},
            "storage": {"uri": f"file://{store}"},
        },
    }
