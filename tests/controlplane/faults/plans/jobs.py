"""Jobs and pods are deleted, killed, or vanish."""

import itertools
import threading
import time
from collections.abc import Iterator

from controlplane.faults.plans.plan import STAGES, Fault, Plan, run_to_end
from controlplane.faults.scenario import Scenario


def vanished_result(scenario: Scenario) -> None:
    """A Job ends and vanishes with its pod while the operator is down: the result is looked for, and nothing is computed again."""

    def vanish(job: str) -> None:
        scenario.wait(lambda status: status.get("stages"), 120)  # else nobody knows that there is a result to look for
        scenario.operator.kill()
        threading.Thread(target=gone, args=(job,), daemon=True).start()

    def gone(job: str) -> None:
        while not (scenario.job(job) or {"status": {}})["status"].get("completionTime"):
            time.sleep(0.05)
        scenario.delete_job(job)
        down.clear()

    down = threading.Event()
    down.set()
    run_to_end(scenario, on_stage={"prepare": vanish}, seconds=300, restart=lambda: not down.is_set())
    uid = scenario.run()["metadata"]["uid"]
    assert any(key[0] == uid for key in scenario.stages.reported), "the result was not looked for in report mode"


def deleted_by_hand(kind: str, stage: str) -> Fault:
    """Somebody deletes the Job or the pod of a running stage."""

    def fault(scenario: Scenario) -> None:
        act = scenario.delete_job if kind == "job" else scenario.delete_pod
        run_to_end(scenario, on_stage={stage: act}, seconds=300)

    return fault


def killed_pod(stage: str) -> Fault:
    """The process of a stage gets SIGKILL: charged, and tried again after a pause."""

    def fault(scenario: Scenario) -> None:
        def act(job: str) -> None:
            for pod in scenario.pods(job):
                scenario.kubelet.kill(scenario.namespace, pod["metadata"]["name"])

        run_to_end(scenario, on_stage={stage: act}, seconds=300, charged=range(1, 2))

    return fault


def plans() -> Iterator[Plan]:
    """For each kind and stage."""
    yield Plan("vanish", "finished Job gone, operator down", vanished_result)
    for kind, stage in itertools.product(("job", "pod"), STAGES):
        yield Plan("hand", f"{kind} of {stage} deleted", deleted_by_hand(kind, stage))
    for stage in STAGES:
        yield Plan("kill", f"pod of {stage} SIGKILLed", killed_pod(stage))
