"""The metrics of the runs in Prometheus' text format. A run is rendered anew only when it has changed: a thousand take a second."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ser_core.metrics import ITERATIONS, METRICS, RUNS
from ser_operator.pages.run_metrics import Sample, samples

Object = Mapping[str, Any]

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class _Rendered:
    body: Object
    phase: str
    lines: Mapping[str, str]
    """The lines of a run by metric."""


class RunPage:
    """Remembers what it has rendered of the runs that still exist."""

    def __init__(self) -> None:
        self._known: Mapping[int, _Rendered] = {}

    def update(self, bodies: Iterable[Object]) -> None:
        """Take in the current runs. A body that is the same Python object has not changed."""
        known = self._known  # objects that it holds keep their identity to themselves
        self._known = {id(body): known.get(id(body)) or _render(body) for body in bodies}

    def phases(self) -> Mapping[str, int]:
        """Number of runs by phase."""
        return Counter(run.phase for run in self._known.values())

    def text(self) -> str:
        """All series, grouped by metric."""
        runs = list(self._known.values())
        parts = []
        for metric in (*RUNS.metrics, *ITERATIONS.metrics):
            lines = [run.lines[metric.name] for run in runs if metric.name in run.lines]
            if lines:
                parts += [f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.type}\n", *lines]
        return "".join(parts)


def _render(body: Object) -> _Rendered:
    lines: defaultdict[str, str] = defaultdict(str)
    phase = ""
    for sample in samples(body):
        lines[sample.metric] += _line(sample)
        if sample.metric == "ser_run_phase":
            phase = sample.labels[-1]
    return _Rendered(body, phase, lines)


def _line(sample: Sample) -> str:
    pairs = zip(METRICS[sample.metric].labels, sample.labels, strict=True)
    labels = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)
    return f"{sample.metric}{{{labels}}} {float(sample.value)!r}\n"
