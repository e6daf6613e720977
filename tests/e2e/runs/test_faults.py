"""Some plans of each kind of `make faults`, which carries out all of them; those of queues are in test_kueue.py."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from controlplane.faults.faults import Outcome, carry_out, plans
from controlplane.faults.home import Home

WRITES = 23
"""Of an undisturbed run, which no plan below comes near."""
CHOSEN = (
    ("kubelet", "OutOfcpu in label"),  # waits for longest, so it begins
    ("crash", "after write 0"),  # the first Job exists and nothing says so
    ("crash", "after write 1"),  # the status is written and its events are not told
    ("crash", "before write 4"),  # a Job has ended, and neither the status nor the next Job is written
    ("answer", "every create's answer lost"),
    ("operators", "two at once, one dies after its write 5"),
    ("isolation", "status writes of one run answered with 500"),
    ("LIST", "the first of jobs refused"),
    ("watch", "no DELETED events"),
    ("connection", "cut for 10 s"),
    ("vanish", "finished Job gone, operator down"),
    ("hand", "job of label deleted"),
    ("kill", "pod of retrain SIGKILLed"),
    ("delete", "label, Foreground, operator down"),
    ("recreate", "before the answer to status write 4"),
    ("meddling", "Job: managed-by stripped"),
    ("strangers", "pods of our Job and garbage"),
    ("garbage", "finishedAt"),
    ("garbage", "ended, with a foreign Job to stop"),
)


@pytest.fixture(scope="module")
def outcomes(place: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Future[Outcome]]]:
    """All chosen plans, three at a time."""
    known = {(plan.kind, plan.name): plan for plan in plans(WRITES)}
    with ThreadPoolExecutor(3) as pool:
        yield {key: pool.submit(carry_out, known[key], place, tmp_path_factory.mktemp("fault")) for key in CHOSEN}


@pytest.mark.parametrize("key", CHOSEN, ids=": ".join)
def test_a_run_survives(outcomes: dict[tuple[str, str], Future[Outcome]], key: tuple[str, str]) -> None:
    outcome = outcomes[key].result()

    assert not outcome.problem
