"""Hand-overs by the API server's audit log, to the microsecond: nobody who measures takes part, and so nobody is late.

A hand-over is the time from the answer to the Job controller's write of a Job's condition Complete to the answer to the creation of the
run's next Job. (SuccessCriteriaMet, which comes before it, does not count: pods still run.)
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from controlplane.plane.api_client import Object

RUN_UID = "ser.dev/run-uid"


def hand_overs(events: Iterable[Object], namespace: str) -> list[float]:
    """Seconds, one value a hand-over, of the runs of a namespace whose Jobs have all completed.

    Args:
        events: The audit log; it must hold the bodies of updates of ``jobs/status``.
        namespace: Where the runs are.
    """
    made: dict[str, float] = {}
    complete: dict[str, dict[str, float]] = defaultdict(dict)
    for event in events:
        job = event.get("objectRef", {})
        if (job.get("resource"), job.get("namespace")) != ("jobs", namespace) or event["responseStatus"]["code"] >= 300:
            continue
        answered = datetime.fromisoformat(event["stageTimestamp"]).timestamp()
        if event["verb"] == "create":
            made[job["name"]] = answered
        elif event["verb"] == "update" and job.get("subresource") == "status" and _is_complete(event["requestObject"]):
            run = event["requestObject"]["metadata"]["labels"][RUN_UID]
            complete[run].setdefault(job["name"], answered)
    return [seconds for ends in complete.values() for seconds in _between(ends, made)]


def _between(ends: dict[str, float], made: dict[str, float]) -> list[float]:
    """Of one run, whose Jobs follow one another."""
    return [begin - end for end, begin in zip(sorted(ends.values()), sorted(made[name] for name in ends)[1:], strict=False)]


def _is_complete(job: Object) -> bool:
    return any(one["type"] == "Complete" and one["status"] == "True" for one in job["status"].get("conditions", ()))
