"""What a sweep has measured: run by run, and arm by arm."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from ser_core.learn.evaluation.groups.comparable import Answers
from ser_core.learn.evaluation.groups.difference import PairedDifference
from ser_core.loop.deciding.significance import SIGNIFICANT


@dataclass(frozen=True, slots=True)
class RunResult:
    """The best reward model of a finished run on the held-out pairs."""

    name: str
    arm: str
    repetition: Hashable
    """Which of the arm's runs it is."""
    right: Mapping[str, bool]
    """Whether it is right, by pair; one that several splits hold out has one name."""
    log_loss: float
    groups: Mapping[str, str]
    """Group of each pair; a pair that is missing is a group of its own."""
    trusted: bool = True
    """Whether a loop has learnt from self-labels; if none has, the best reward model is the seed's."""
    collapsed: bool = False
    """Whether its best reward model does not hold: each of its trainings has collapsed."""
    seed_right: Mapping[str, bool] | None = None
    """Whether its seed model is right, by pair; None: not known."""
    answers: Answers = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share of pairs that are right."""
        return fmean(self.right.values())


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm minus the baseline, in held-out accuracy, over the repetitions that both have."""

    mean: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    p_value: float
    """Two-sided, by the randomization test: the signs of the groups' differences are flipped in all ways."""
    p_holm: float
    """Corrected for the number of arms that are compared."""
    repetitions: int
    groups: int

    @property
    def significant(self) -> bool:
        """Whether chance is an unlikely cause, with all comparisons taken together."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One row of the table."""

    arm: str
    runs: int
    accuracy: float
    deviation: float | None
    """Standard deviation over the runs; None: there is one run."""
    trusted: bool
    """Whether a loop of any of the runs has learnt from self-labels."""
    log_loss: float
    difference: Difference | None
    """None for the baseline, and for an arm that cannot be compared with it."""
    collapsed: int = 0
    """Runs whose best reward model does not hold."""
    seed_accuracy: float | None = None
    """Of the seed models, mean over the runs; None: they are not known."""
    over_seed: PairedDifference | None = None
    """The best reward models minus the seed models of the same runs: what self-labels have added."""
    why_apart: str = ""
    """Why it cannot be compared with the baseline, and what helps; empty: it is compared, or is the baseline."""
