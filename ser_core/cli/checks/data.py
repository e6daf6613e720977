"""Whether the data can be read and split."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.stage import PrepareMetrics
from ser_core.cli.checks.check import Check
from ser_core.counted import counted
from ser_core.store.objects.port import unwatched
from ser_core.store.objects.retry import Retry

if TYPE_CHECKING:
    from ser_core.data.preparing.preparation import Inspection


def check_data(run: SERRun, soon: Retry) -> Check:
    """The data can be read and split."""
    from ser_core.data.preparing.hidden_labels import refuse_full_without_labels
    from ser_core.data.preparing.prompts import read_prompts
    from ser_core.data.reading.locations import Access

    access, policy = Access(run.spec.storage, run.spec.hub, soon), run.spec.policy
    inspected = inspected_data(run, soon)
    metrics = inspected.metrics
    refuse_full_without_labels(run.spec.loop, hidden_labels=metrics.hidden_labels)
    lines, of_prompts = [*_data_lines(metrics, dev_decides=run.spec.loop.fold_count is None)], tuple[str, ...]()
    if policy is not None and policy.prompts is not None:
        with tempfile.TemporaryDirectory(prefix="ser-validate-") as folder:
            limit, turns = run.spec.data.max_dropped_fraction, run.spec.keeps_turns
            found = read_prompts(policy.prompts, access, Path(folder), (), limit, unwatched, turns=turns)
        lines.append(f"{policy.prompts.uri}: {len(found.texts):,} prompts")
        of_prompts = found.warnings
    return Check("data", tuple(lines), (*of_prompts, *data_warnings(run.spec, inspected)), material=inspected.sample)


def inspected_data(run: SERRun, soon: Retry) -> "Inspection":
    """What `prepare` would make of a run's data.

    Raises:
        DataError, SpecError, StoreError: As `prepare` would.
    """
    from ser_core.data.preparing.preparation import inspect
    from ser_core.data.reading.locations import Access

    access = Access(run.spec.storage, run.spec.hub, soon)
    return inspect(run.spec.data, run.spec.data.split_seed, access, turns=run.spec.keeps_turns)


def data_warnings(spec: SERRunSpec, inspected: "Inspection") -> tuple[str, ...]:
    """What the data says against a run of this spec."""
    from ser_core.data.preparing.split_warnings import grouped
    from ser_core.learn.trust.enough_pairs import size_warnings

    metrics = inspected.metrics
    of_groups = grouped(metrics.heldout, inspected.heldout_groups, spec.data.group_by)
    return (*metrics.warnings, *of_groups, *size_warnings(spec, metrics, inspected.ties))


def _data_lines(metrics: PrepareMetrics, *, dev_decides: bool) -> Iterator[str]:
    yield f"{metrics.found}: {counted(metrics.rows, 'row')}"
    seed = f"seed {metrics.seed:,} · dev {metrics.dev:,}" if dev_decides else f"seed {metrics.seed + metrics.dev:,}"
    yield f"{seed} · pool {metrics.pool:,} · held-out {metrics.heldout:,}"
    if metrics.dropped:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in metrics.dropped.items())
        yield f"dropped {sum(metrics.dropped.values()):,}: {reasons}"
