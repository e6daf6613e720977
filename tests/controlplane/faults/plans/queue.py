"""A queue, which is a real Kueue: it admits suspended Jobs, changes where they run, and takes one back in the middle."""

from collections.abc import Iterator

from controlplane.faults.home import NODE
from controlplane.faults.plans.plan import Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import Scenario
from controlplane.kueue.queues import open_queue
from controlplane.kueue.urgent import Urgent

NAME = "lab"
QUOTA = {"cpu": "1"}
STAGES = 5
SECONDS = 300


def queued(stage: str) -> Fault:
    """The Jobs of a run pass through the queue, which takes one back for an urgent Job while it runs and admits it again: one Job a stage,
    nothing charged."""

    def fault(scenario: Scenario) -> None:
        open_queue(scenario.api, scenario.namespace, NAME, {"kubernetes.io/hostname": NODE}, QUOTA)
        gate = scenario.hold(stage)
        scenario.operator.restart_when_dead()
        scenario.apply(queueName=NAME, resources={stage: QUOTA})
        job = gate.wait_for_pod(SECONDS).labels["job-name"]
        with Urgent(scenario.api, scenario.kubelet, scenario.namespace, NAME, QUOTA):
            waiting = scenario.wait(lambda status: "Preempted to accommodate a workload" in status.get("message", ""), SECONDS)
            assert (waiting["phase"], waiting["conditions"][0]["reason"]) == ("Queued", "Queued")
            eventually(lambda: not _running(scenario, job), SECONDS, "the evicted pod ends")
        assert gate.wait_for_pod(SECONDS, count=2).labels["job-name"] == job
        gate.release()
        run_to_end(scenario, apply=False, seconds=SECONDS)
        assert len(scenario.jobs()) == STAGES
        assert all(pod["spec"]["nodeSelector"] for pod in scenario.pods(job))

    return fault


def _running(scenario: Scenario, job: str) -> bool:
    return any(pod["status"]["phase"] in ("Pending", "Running") for pod in scenario.pods(job))


def plans() -> Iterator[Plan]:
    """Evicted at each of three stages. They need a cluster with Kueue."""
    for stage in ("prepare", "retrain", "filter"):
        yield Plan("queue", f"evicted during {stage}", queued(stage))
