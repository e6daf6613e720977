"""Hundreds of runs in a scenario, and one operator for them as it is shipped."""

import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from controlplane.faults.scenario import SPEC, Scenario
from controlplane.plane.operator_process import ROOT, OperatorProcess
from ser_core.api.serrun import API_VERSION, SERRun
from ser_core.api.status import SERRunStatus
from ser_core.loop.deciding.stages import job_name, key_of
from ser_operator.settings import Settings

AS_SHIPPED = {name: Settings.model_fields[name].default for name in ("progress_seconds", "events_after_seconds", "workers")}
"""Scenarios look at progress and Events more often, which hundreds of runs would pay for."""


@contextlib.contextmanager
def operator_of(scenario: Scenario) -> Iterator[OperatorProcess]:
    """An operator that speaks to the API server itself: the proxy of the fault tests shares a Python process with the kubelet."""
    kubeconfig = scenario.plane.kubeconfig(f"{scenario.namespace}/ser-operator")
    operator = OperatorProcess(kubeconfig, scenario.namespace, scenario.folder, code=ROOT, **AS_SHIPPED).start()
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


def is_ready(operator: OperatorProcess) -> bool:
    """Whether /readyz says so."""
    try:
        return bool(operator.page("/readyz"))
    except OSError:  # 503 is one, too
        return False


def writes_on(page: str) -> int:
    """Requests that change something, by the operator's own count."""
    lines = [line for line in page.splitlines() if re.match(r'ser_operator_api_requests_total\{.*verb="(POST|PATCH|DELETE)"', line)]
    return round(sum(float(line.split()[-1]) for line in lines))


def as_of(run: SERRun, status: SERRunStatus) -> SERRunStatus:
    """``status`` as the operator would have written it for ``run``: its Jobs are named after the run's UID, else it counts as forged."""
    rows = [row.model_copy(update={"job": job_name(run, key_of(row), row.attempt)}) for row in status.stages]
    return status.model_copy(update={"stages": tuple(rows)})
