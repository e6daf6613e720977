"""Whatever ends a stage becomes an `End`, and the end that caused the others decides what the container says."""

import json

import pytest

from ser_core.errors import Interrupted, OutOfMemory, RendezvousTimeout, SERError, StageHung
from ser_jobs.supervisor.ends import End, speakers, with_kernel_kills
from ser_jobs.supervisor.report import TERMINATION_MESSAGE, report


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Exit code and termination message of a container with these ends, whose processes have all written their rank as their message."""
    target = tmp_path / "message"
    monkeypatch.setenv(TERMINATION_MESSAGE, str(target))

    def says(ends):
        messages = {end.rank: tmp_path / str(end.rank) for end in ends if end.rank is not None}
        for rank, path in messages.items():
            path.write_text(f"rank {rank}")
        return report(ends, messages), target.read_text() if target.exists() else None

    return says


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([End(1, 0), End(0, 0)], [0, 1]),
        ([End(1, 143), End(0, 143), End(2, 1)], [0, 1]),  # rank 0 knows the newest checkpoint
        ([End(0, 143), End(1, 11)], [1]),
        ([End(0, 1), End(1, 137)], [1]),
        ([End(0, 20), End(1, 20)], [0]),
        ([End(None, 143)], []),
    ],
)
def test_the_ranks_whose_message_counts(ends, expected):
    assert speakers(ends) == expected


@pytest.mark.parametrize("kind", [StageHung, RendezvousTimeout, OutOfMemory, Interrupted])
def test_the_supervisor_says_what_no_process_can(container, kind):
    code, message = container([End(0, 0), End.of(kind("it ended", hint="start again"))])

    outcome = "interrupted" if kind is Interrupted else "failed"
    assert code == kind.exit_code
    assert json.loads(message) == {"outcome": outcome, "reason": kind.__name__, "message": "it ended", "hint": "start again"}


def test_a_process_that_failed_is_heard_rather_than_those_that_were_killed_after_it(container):
    assert container([End(1, 1), End.of(Interrupted("rank 0 did not stop"))]) == (1, "rank 1")


def test_a_stop_before_the_processes_started_leaves_no_message(container):
    assert container([End(None, 143)]) == (143, None)


def test_a_kill_by_the_kernel_explains_the_ranks_that_lost_their_peer(container):
    ends = with_kernel_kills([End(0, 1), End(1, 137), End(2, 143)], lambda rank: OutOfMemory(f"the kernel killed rank {rank}"))

    assert [end.code for end in ends] == [1, 21, 143]
    code, message = container(ends)
    assert (code, json.loads(message)["message"]) == (21, "the kernel killed rank 1")


def test_an_end_of_an_error_has_its_exit_code():
    assert End.of(SERError("unexpected"), 3).code == 1
    assert End.of(SERError("unexpected"), 3).rank == 3
