"""One fault at one place, and how a run is brought to its end under it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controlplane.faults.scenario import Scenario

Fault = Callable[[Scenario], None]
"""Applied to a scenario whose operator has not started yet; returns once all that must hold has been checked."""

STAGES = ("prepare", "retrain", "label", "filter")


@dataclass(frozen=True, slots=True)
class Plan:
    """One fault at one place."""

    kind: str
    name: str
    fault: Fault
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of the operator."""


def run_to_end(
    scenario: Scenario,
    *,
    apply: bool = True,
    seconds: float = 300,
    on_stage: Mapping[str, Callable[[str], object]] | None = None,
    charged: range = range(1),
    alone: bool = True,
    restart: Callable[[], bool] = lambda: True,
    **spec: object,
) -> None:
    """Start the operator and a run, let things happen while the stages named are held, restart a dead operator, check the oracles.

    Args:
        scenario: Where.
        apply: Whether the run is to be created.
        seconds: How long it may take.
        on_stage: What happens once a pod of a stage is held, by stage; it gets the name of the pod's Job.
        charged: How many charged attempts the status may tell of.
        alone: Whether no two Jobs with a stage's labels may have lived at the same time.
        restart: Whether a dead operator may be started again now.
        spec: Fields of the run's spec.
    """
    gates = {stage: (scenario.hold(stage), act) for stage, act in (on_stage or {}).items()}

    def tend() -> None:
        for stage, (gate, act) in list(gates.items()):
            if gate.pods:
                del gates[stage]
                act(gate.pods[0].labels["job-name"])
                gate.release()
        if restart():
            scenario.operator.restart_when_dead()

    if not scenario.operator.running:
        scenario.operator.start()
    if apply:
        scenario.apply(**spec)
    scenario.wait_for_end(seconds, tend=tend)
    scenario.check(charged=charged, alone=alone)


def eventually(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)
