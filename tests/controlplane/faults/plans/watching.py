"""What the operator sees comes late, not at all, or not any more."""

import itertools
import threading
from collections.abc import Iterator

from controlplane.faults.fault_proxy import Call
from controlplane.faults.plans.plan import Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import Scenario

RESYNC = {"resync_seconds": 20}
OTHERS = 50
"""Objects that are written while the operator is cut off."""


def late_watch(seconds: float) -> Fault:
    """Everything that a watch says comes late."""

    def fault(scenario: Scenario) -> None:
        scenario.proxy.watch_delay = seconds
        run_to_end(scenario, seconds=240 + 12 * seconds)

    return fault


def lost_deletions(scenario: Scenario) -> None:
    """No watch ever says that anything is gone, while a Job is deleted by hand in the middle."""
    scenario.proxy.keep_event = lambda event: event.get("type") != "DELETED"
    # How a deleted Job's process ended is seen only if a watch shows its pod once more in time; otherwise it is charged.
    run_to_end(scenario, on_stage={"label": scenario.delete_job}, charged=range(2))


def deaf_watch(scenario: Scenario) -> None:
    """No watch says anything at all: the resync alone moves the run."""
    scenario.proxy.keep_event = lambda event: event.get("type") == "BOOKMARK"
    run_to_end(scenario, seconds=300)


def lost_connection(scenario: Scenario) -> None:
    """The API server cannot be reached for ten seconds in the middle."""

    def cut(_job: str) -> None:
        scenario.proxy.cut()
        threading.Timer(10, scenario.proxy.heal).start()

    run_to_end(scenario, seconds=300, on_stage={"retrain": cut})


def broken_list(plural: str) -> Fault:
    """The operator starts while the API server is busy: of its first LISTs, that of the run is answered, and one after it is not."""

    def fault(scenario: Scenario) -> None:
        refused = []

        def refuse(path: str) -> int:
            if refused or not path.endswith(f"/{plural}"):
                return 0
            refused.append(path)
            return 503

        scenario.proxy.refuse_read = refuse
        scenario.apply()
        run_to_end(scenario, apply=False)
        assert refused, "nothing was refused"

    return fault


def conflict_storm(scenario: Scenario) -> None:
    """Somebody labels the run twenty times a second."""
    stop = threading.Event()

    def storm() -> None:
        for number in itertools.count():
            if stop.wait(0.05):
                return
            scenario.patch({"metadata": {"labels": {"storm": str(number)}}})

    scenario.apply()
    thread = threading.Thread(target=storm, daemon=True)
    thread.start()
    try:
        run_to_end(scenario, apply=False)
    finally:
        stop.set()
        thread.join()


def unrecorded_end(scenario: Scenario) -> None:
    """Somebody labels the run before the status is written that tells of its first Job, which ends before the next try.

    No watch tells of pods.
    """
    labelled = []

    def label(call: Call) -> None:
        if call.what == "patch serruns/status" and not labelled:
            labelled.append(call)
            scenario.patch({"metadata": {"labels": {"seen": "yes"}}})
            eventually(lambda: any("completionTime" in job.get("status", {}) for job in scenario.jobs()), 60, "the first Job ends")

    scenario.proxy.before = label
    scenario.proxy.keep_event = lambda event: event["object"].get("kind") != "Pod"
    run_to_end(scenario)
    assert len(scenario.jobs()) == 5, "a result that was there was looked for"


def api_server_restart(scenario: Scenario) -> None:
    """The API server is killed and started again in the middle."""
    run_to_end(scenario, seconds=300, on_stage={"label": lambda _job: scenario.plane.restart("apiserver")})


def gone(stage: str) -> Fault:
    """The operator is cut off, the Job of a stage is deleted, and the API server comes back without the history that the watch asks for."""

    def fault(scenario: Scenario) -> None:
        expired = []

        def listen(event: dict) -> bool:
            if event.get("type") == "ERROR" and event["object"].get("code") == 410:
                expired.append(event)
            return True

        def lose(job: str) -> None:
            scenario.proxy.cut()
            scenario.delete_job(job)
            for number in range(OTHERS):
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"other-{number}"}}
                scenario.api.create(scenario.collection("configmaps"), body)
            scenario.wait(lambda _status: scenario.job(job) is None, 120)
            scenario.plane.restart("apiserver")
            scenario.proxy.heal()

        scenario.proxy.keep_event = listen
        run_to_end(scenario, seconds=300, on_stage={stage: lose}, charged=range(2))
        assert expired, "no watch was answered with 410"

    return fault


def plans() -> Iterator[Plan]:
    """Each in a namespace of its own, beside others."""
    for delay in (6, 30, 120):
        yield Plan("watch", f"{delay} s late", late_watch(delay), RESYNC)
    yield Plan("watch", "no DELETED events", lost_deletions, RESYNC)
    yield Plan("watch", "no events at all", deaf_watch, RESYNC)
    for plural in ("jobs", "pods"):
        yield Plan("LIST", f"the first of {plural} refused", broken_list(plural))
    yield Plan("connection", "cut for 10 s", lost_connection)
    yield Plan("conflicts", "20 Hz", conflict_storm)
    yield Plan("conflicts", "until the first Job has ended", unrecorded_end)


def plans_alone() -> Iterator[Plan]:
    """Those that disturb every run of the cluster, to be carried out one by one."""
    yield Plan("API server", "SIGKILL and restart", api_server_restart)
    for stage in ("prepare", "label"):
        yield Plan("410", f"Job of {stage} deleted meanwhile", gone(stage), RESYNC)
