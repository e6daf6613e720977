"""How far the running stage is, as the status shows it: so seldom that it causes few writes."""

from datetime import datetime, timedelta

from ser_core.api.status import ProgressStatus, SERRunStatus
from ser_core.loop.deciding.stages import live_attempt
from ser_core.loop.observed import Progress
from ser_core.loop.text import clip, read_time, write_time

MIN_POINTS = 5
MIN_PAUSE = timedelta(seconds=60)
_UNIT_BYTES = 16


def progress(status: SERRunStatus, seen: Progress | None, now: datetime) -> ProgressStatus | None:
    """The progress to show for the live attempt, None without one. It changes when the new one is five points and a minute away.

    What is shown from before the attempt's start is another attempt's and is dropped.
    """
    live, shown = live_attempt(status), status.progress
    if live is None:
        return None
    if shown is not None and shown.updated_at < live.started_at:
        shown = None
    if seen is None or not 0 <= seen.step <= seen.total or not seen.total:
        return shown
    percent = 100 * seen.step // seen.total
    if shown is not None and (abs(percent - shown.percent) < MIN_POINTS or now < read_time(shown.updated_at) + MIN_PAUSE):
        return shown
    return ProgressStatus(percent=percent, step=seen.step, total=seen.total, unit=clip(seen.unit, _UNIT_BYTES), updated_at=write_time(now))
