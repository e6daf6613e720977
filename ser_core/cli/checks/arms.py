"""What the data says against the arms of a sweep, before a run of it has begun: the warnings that `ser validate` gives for each."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ser_core.api.serrun import SERRun
from ser_core.cli.checks.data import data_warnings, inspected_data
from ser_core.errors import SERError
from ser_core.store.objects.retry import Retry

if TYPE_CHECKING:
    from ser_core.data.preparing.preparation import Inspection


def arm_warnings(runs: Mapping[str, SERRun], soon: Retry) -> Iterator[str]:
    """Each warning once, with the arms that it does not hold for left out.

    Args:
        runs: A run of each arm. Data that several of them read is read once, whatever their splitSeed.
        soon: How long stores are waited for. What cannot be read is no warning: the run says it.
    """
    inspected: dict[str, Inspection | None] = {}
    arms: dict[str, list[str]] = {}
    for arm, run in runs.items():
        read = _what_is_read(run)
        if read not in inspected:
            inspected[read] = _inspected(run, soon)
        found = inspected[read]
        for warning in () if found is None else data_warnings(run.spec, found):
            arms.setdefault(warning, []).append(arm)
    yield from (warning if len(of) == len(runs) else f"{'; '.join(of)}: {warning}" for warning, of in arms.items())


def _what_is_read(run: SERRun) -> str:
    data = run.spec.data.model_dump(mode="json", exclude={"split_seed"})
    return json.dumps([data, run.spec.keeps_turns], sort_keys=True)


def _inspected(run: SERRun, soon: Retry) -> "Inspection | None":
    try:
        return inspected_data(run, soon)
    except SERError:
        return None
