"""Hundreds of runs in a scenario, and one operator for them as it is shipped."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from controlplane.faults.scenario import SPEC, Scenario
from controlplane.plane.operator_process import OperatorProcess
from ser_core.api.serrun import API_VERSION
from ser_operator.settings import Settings

AS_SHIPPED = {name: Settings.model_fields[name].default for name in ("progress_seconds", "events_after_seconds", "workers")}
"""Scenarios look at progress and Events more often, which hundreds of runs would pay for."""


@contextlib.contextmanager
def operator_of(scenario: Scenario) -> Iterator[OperatorProcess]:
    """An operator that speaks to the API server itself: the proxy of the fault tests shares a Python process with the kubelet."""
    kubeconfig = scenario.plane.kubeconfig(f"{scenario.namespace}/ser-operator")
    operator = OperatorProcess(kubeconfig, scenario.namespace, scenario.folder, **AS_SHIPPED).start()
    try:
        yield operator
    finally:
        operator.kill()


def create_runs(scenario: Scenario, count: int, first: int = 0, **spec: object) -> None:
    """Make runs ``climb-<number>``, eight at a time."""
    path = scenario.collection("serruns", f"apis/{API_VERSION}")

    def create(number: int) -> None:
        metadata = {"name": f"climb-{number}"}
        scenario.api.create(path, {"apiVersion": API_VERSION, "kind": "SERRun", "metadata": metadata, "spec": {**SPEC, **spec}})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(first, first + count)))


def wait_for(scenario: Scenario, count: int, phase: str, seconds: float) -> None:
    """Wait until so many runs are in a phase; looks once a second, since a look at hundreds costs the measured processes time."""
    deadline = time.monotonic() + seconds
    while True:
        runs = scenario.api.items(scenario.collection("serruns", f"apis/{API_VERSION}"))
        reached = sum((run.get("status") or {}).get("phase") == phase for run in runs)
        if reached >= count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{reached} of {count} runs are {phase} after {seconds} s")
        time.sleep(1)
