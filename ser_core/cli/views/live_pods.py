"""What the pods of the live attempt show beside the status, which is up to date only while an operator is at work. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ser_core.api.status import StageStatus
from ser_core.cli.access.cluster import ATTEMPT, CONTAINER, ITERATION, STAGE
from ser_core.cli.views.status_view import elapsed
from ser_core.loop.text import read_time

Pod = Mapping[str, Any]
NOTICED_WITHIN = timedelta(minutes=1)
"""An operator that is at work takes note of an end within seconds."""


def has_started(live: StageStatus, pods: Sequence[Pod]) -> bool:
    """Whether the stage's container has started in any pod of the attempt."""
    return any("running" in state or "terminated" in state for state in _states(live, pods))


def begun_by(live: StageStatus, moment: datetime) -> bool:
    """Whether the attempt was begun by then."""
    try:
        return read_time(live.started_at) <= moment
    except ValueError:  # a status of somebody else's hand
        return False


def unnoticed_end(live: StageStatus, pods: Sequence[Pod], now: datetime) -> str:
    """How and when the live attempt has ended, where an operator would have told so long ago; empty: it has not."""
    states = list(_states(live, pods))
    ends = [str(state.get("terminated", {}).get("finishedAt") or "") for state in states]
    if not ends or not all(ends) or now - read_time(max(ends)) < NOTICED_WITHIN:
        return ""
    codes = sorted({state["terminated"].get("exitCode", 0) for state in states})
    return f"its pod ended {elapsed(max(ends), None, now)} ago, with exit code {', '.join(map(str, codes))}"


def _states(live: StageStatus, pods: Sequence[Pod]) -> Iterator[Mapping[str, Any]]:
    """Of the stage's container in each pod of the attempt; empty where nothing is known of it."""
    wanted = {STAGE: live.stage.value, ITERATION: str(live.iteration), ATTEMPT: str(live.attempt)}
    for pod in pods:
        if wanted.items() <= (pod["metadata"].get("labels") or {}).items():
            containers = pod.get("status", {}).get("containerStatuses") or ()
            yield next((one.get("state") or {} for one in containers if one.get("name") == CONTAINER), {})
