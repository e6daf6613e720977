"""A query of a panel, and the selectors that the boards share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dashboards.colours import SKY

RUN = 'namespace="$namespace", run="$run"'
RATE = "[$__rate_interval]"
_POD = "(ser-.+-[0-9a-f]{10})(?:-[0-9]+)?-[a-z0-9]{5}"
"""Name of a stage's pod: that of its Job, of a gang its number, and what Kubernetes appends."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks for.

    Attributes:
        expr: PromQL.
        name: Of its series, with labels in double braces, or of its column.
        colour: Of its one series.
        colours: Of several series, by their names; Grafana's palette colours those that are missing here.
        dashed: Whether the line is dashed, for what is compared with.
        right: Whether it has an axis of its own, at the right.
    """

    expr: str
    name: str
    colour: str = SKY
    colours: Mapping[str, str] = field(default_factory=dict)
    dashed: bool = False
    right: bool = False

    @property
    def has_many(self) -> bool:
        """Whether it asks for several series."""
        return "{{" in self.name


def of_run(metric: str, by: str, more: str = "") -> str:
    """A metric of the chosen run by some of its labels."""
    return f"max by ({by}) ({metric}{{{RUN}{f', {more}' if more else ''}}})"


def best_accuracy(split: str) -> str:
    """Accuracy of the chosen run's best loop, whose number is a value there and a label here."""
    best = f'count_values("iteration", ser_run_best_iteration{{{RUN}}})'
    return f'max(ser_iteration_accuracy_ratio{{{RUN}, split="{split}"}} and on (iteration) {best})'


def best_dev_accuracies() -> str:
    """Accuracy of every run's best loop on the labels that choose it."""
    best = 'count_values by (namespace, run) ("iteration", ser_run_best_iteration)'
    return f'max by (namespace, run) (ser_iteration_accuracy_ratio{{split="dev"}} and on (namespace, run, iteration) {best})'


def of_gpus(metric: str) -> str:
    """A metric of NVIDIA's DCGM exporter, of the GPUs that the chosen run holds, by node and GPU.

    The pods of a run are those of its Jobs, and a Job's name ends with a hash that no other has: so the Jobs of the run's stages are
    looked up by the metrics of their first pod, not guessed from the run's name, with which another's may begin. The exporter's page
    names the pod; whether Prometheus calls that ``pod`` or ``exported_pod`` is up to its ``honorLabels``.
    """
    gpus = _with_job(_with_job(metric, "pod"), "exported_pod")
    stages = _with_job(f'ser_stage_start_timestamp_seconds{{{RUN}, pod=~"ser-.+"}}', "pod")
    return f"max by (Hostname, gpu) ({gpus} and on (job_name) {stages})"


def _with_job(expr: str, label: str) -> str:
    return f'label_replace({expr}, "job_name", "$1", "{label}", "{_POD}")'
