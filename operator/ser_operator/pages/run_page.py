"""The metrics of the runs in Prometheus' text format. A run is rendered anew only when it has changed: a thousand take a second.

A run has some 230 series. Those of a run that ended long ago are not shown, else they would grow for ever; Prometheus has what they were.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ser_core.api.status import Phase
from ser_core.metrics import ITERATIONS, METRICS, RUNS
from ser_operator.facts.known_run import KnownRun
from ser_operator.facts.reading import moment
from ser_operator.pages.run_metrics import Sample, samples, waiting_samples

SHOWN_AFTER_END = timedelta(days=7)
MOST_ENDED = 200
"""Of the ended runs so many are shown, the failed ones first: their alert is not to go by itself while many others complete."""
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_PHASES = frozenset(Phase)
_WAITING = "ser_run_waiting_seconds"


@dataclass(frozen=True, slots=True)
class _Rendered:
    run: KnownRun
    lines: Mapping[str, str]
    """The lines of a run by metric."""


class RunPage:
    """Remembers what it has rendered of the runs that it still shows."""

    def __init__(self) -> None:
        self._known: Mapping[int, _Rendered] = {}
        self._phases: Mapping[str, int] = {}
        self._waiting = ""
        """Lines of what changes although no run does: the time for which each waits."""

    def update(self, runs: Iterable[KnownRun], now: datetime) -> None:
        """Take in the current runs. One that is the same Python object has not changed."""
        known = self._known  # objects that it holds keep their identity to themselves
        current = list(runs)
        self._phases = Counter(run.phase if run.phase in _PHASES else Phase.PENDING.value for run in current)
        self._known = {id(run): known.get(id(run)) or _Rendered(run, _render(run)) for run in shown(current, now)}
        waiting = (rendered.run.body() for rendered in self._known.values() if not rendered.run.has_ended)
        self._waiting = "".join(_line(sample) for body in waiting for sample in waiting_samples(body, now))

    def phases(self) -> Mapping[str, int]:
        """Number of all runs by phase."""
        return self._phases

    def text(self) -> str:
        """All series, grouped by metric."""
        runs = list(self._known.values())
        parts = []
        for metric in (*RUNS.metrics, *ITERATIONS.metrics):
            lines = [run.lines[metric.name] for run in runs if metric.name in run.lines]
            if metric.name == _WAITING and self._waiting:
                lines = [self._waiting]
            if lines:
                parts += [f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.type}\n", *lines]
        return "".join(parts)


def shown(runs: Iterable[KnownRun], now: datetime) -> list[KnownRun]:
    """Those that have series: all that go on, and `MOST_ENDED` of those that ended within `SHOWN_AFTER_END`: the failed, then the last."""
    going, ended = [], []
    for run in runs:
        end = moment(run.finished_at) if run.has_ended else None
        if end is None:
            going.append(run)
        elif now - end < SHOWN_AFTER_END:
            ended.append((run.phase == Phase.FAILED, end, run))
    ended.sort(key=lambda one: one[:2], reverse=True)
    return [*going, *(run for *_, run in ended[:MOST_ENDED])]


def _render(run: KnownRun) -> Mapping[str, str]:
    lines: defaultdict[str, str] = defaultdict(str)
    for sample in samples(run.body()):
        lines[sample.metric] += _line(sample)
    return lines


def _line(sample: Sample) -> str:
    pairs = zip(METRICS[sample.metric].labels, sample.labels, strict=True)
    labels = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)
    return f"{sample.metric}{{{labels}}} {float(sample.value)!r}\n"
