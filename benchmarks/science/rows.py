"""One line of results for each arm of a finished run. The file is committed, so that anybody can go on where it stopped."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

RESULTS = Path(__file__).with_name("results.jsonl")


@dataclass(frozen=True, slots=True)
class Result:
    """One arm on the held-out pairs of one split."""

    data_set: str
    budget: float
    seed: int
    arm: str
    commit: str
    """Of this repository, when it was measured."""
    accuracy: float
    log_loss: float
    right: str
    """``1`` or ``0`` for each held-out pair, in the order of ``groups``."""
    groups: Sequence[int]
    """Numbers of pairs of the held-out groups; pairs are in the order of their groups, then of their ids."""
    names: Sequence[str]
    """Of the held-out groups, shortened: a group may be held out by several splits, and counts once."""
    length_gap: float
    """How much more often the arm prefers the longer answer than people do."""
    kept: Sequence[int] = ()
    """Self-labels that each loop kept."""
    agreement: Sequence[float | None] = ()
    """Share of them that are right, by loop."""
    elsewhere: float | None = None
    """Accuracy out of distribution: on pairs of LLMBar and MT-bench, which no arm learns from."""
    bands: Sequence[Sequence[float | None]] = ()
    """Share of right self-labels of the pool by loop, in five bands of as many pairs each, the surest last."""
    processor_seconds: float | None = None
    """Of the whole run that measured it and its companions."""

    @property
    def place(self) -> tuple[str, float, int, str]:
        """What it is a result of."""
        return self.data_set, self.budget, self.seed, self.arm


def shortened(group: str) -> str:
    """Eight hexadecimal digits for the name of a group, which may be a long text."""
    return sha256(group.encode()).hexdigest()[:8]


def read_results(file: Path = RESULTS) -> list[Result]:
    """All results so far; the last line of a place counts."""
    if not file.exists():
        return []
    found = [Result(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    return list({one.place: one for one in found}.values())


def append_results(results: Iterable[Result], file: Path = RESULTS) -> None:
    """Add lines."""
    with file.open("a", encoding="utf-8") as lines:
        for one in results:
            lines.write(f"{json.dumps(asdict(one))}\n")
