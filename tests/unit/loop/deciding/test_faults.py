"""Whose fault an end is: the world makes a run wait and never ends it, a crash is tried elsewhere, wrong inputs fail at once."""

import ast
import inspect
from pathlib import Path

import pytest

from ser_core import errors
from ser_core.api.status import Outcome, StageKind, StageStatus
from ser_core.loop.deciding.faults import TABLE, Fault, fault_of, row_of

STORE = {"outcome": "failed", "exit_code": 20, "reason": "StoreUnavailable", "message": "503"}
DENIED = {"outcome": "failed", "exit_code": 20, "reason": "StoreAccessDenied"}
DISK = {"outcome": "failed", "exit_code": 24, "reason": "NodeDiskFull"}
CLOCK = {"outcome": "failed", "exit_code": 20, "reason": "ClockSkewed"}
HUB = {"outcome": "failed", "exit_code": 20, "reason": "HubUnavailable"}
REJECTED = {"outcome": "failed", "result": False, "pod_reason": "UnexpectedAdmissionError", "pod_message": "no healthy devices"}
NODE_LOST = {"outcome": "failed", "result": False, "pod_reason": "NodeLost", "exit_code": 137}
GONE = {"outcome": "failed", "result": False}
EVICTED = {"outcome": "interrupted", "disruption": "EvictionByEvictionAPI: a drain"}
DAMAGED = {"outcome": "failed", "exit_code": 20, "reason": "CorruptObject"}
OF_THE_WORLD = [STORE, DENIED, DAMAGED, DISK, HUB, REJECTED, NODE_LOST, EVICTED]
OF_COMMANDS = {"UsageError", "ClusterError", "ClusterAccessDenied", "UnreadableRun", "HasFollowers"}


def end(world, exit_code=None, **how):
    """End the live attempt as ``how`` says; without an exit code, as a pod that never ran."""
    job = world.live()[0]
    world.end(exit_code=-1 if exit_code is None else exit_code, **how)
    if exit_code is None and how["outcome"] != "interrupted":
        world.forget_exit_code(job)
    return world.reconcile()


@pytest.mark.parametrize("how", OF_THE_WORLD, ids=lambda how: how.get("reason") or how.get("pod_reason") or "Eviction")
def test_the_world_never_ends_a_run(make_world, how):
    world = make_world().at("retrain")
    for _ in range(30):
        end(world, **how)
        world.wait(600)
        world.reconcile()
        assert world.live(), world.status.message

    assert not any(row.charged for row in world.rows())
    assert world.drive().status.phase == "Completed"


def test_while_the_world_is_broken_the_run_waits_longer_and_longer(make_world):
    world = make_world().at("retrain")
    pauses = []
    for _ in range(9):
        planned = end(world, **STORE)
        assert (world.status.phase, world.condition("Ready").reason) == ("Waiting", "StoreUnavailable")
        pauses.append((world.plan().actions, planned.requeue_after))
        world.wait(min(planned.requeue_after, 600))
        world.reconcile()

    assert pauses == [((), seconds) for seconds in (10, 20, 40, 80, 160, 320, 600, 600, 600)]
    assert world.rows("retrain")[-1].attempt == 10


def test_a_run_that_waits_for_an_hour_is_stalled_until_the_world_is_back(make_world):
    world = make_world().at("retrain")
    for _ in range(12):
        end(world, **STORE)
        world.wait(600)
        world.reconcile()
        assert world.status.phase == "Running"
        assert world.status.waiting_since is not None  # the attempt only looks whether the world is back
    end(world, **STORE)
    assert world.condition("Stalled").status == "True"
    assert "StoreUnavailable" in world.status.message

    world.wait(600)
    assert world.drive().status.phase == "Completed"
    assert world.status.waiting_since is None


def test_the_first_interruption_is_continued_at_once_and_later_ones_after_a_pause(make_world):
    world = make_world().at("retrain")
    assert [end(world, **EVICTED).requeue_after for _ in range(1)] == [None]
    assert end(world, **EVICTED).requeue_after == 10
    world.wait(10)
    world.reconcile()
    assert end(world, **EVICTED).requeue_after == 20


def test_a_newer_checkpoint_ends_the_pauses(make_world):
    world = make_world().at("retrain")
    for step in range(50):
        assert len(end(world, checkpoint_step=step, **EVICTED).actions) == 1

    assert world.live()[0].attempt == 51


def test_an_attempt_that_lasted_ends_the_pauses(make_world):
    world = make_world().at("prepare")
    for _ in range(5):
        world.wait(900)
        assert len(end(world, **EVICTED).actions) == 1


def test_suspending_as_often_as_one_likes_is_never_charged_and_has_no_pause(make_world):
    world = make_world().at("retrain")
    for _ in range(12):
        world.change(suspend=True)
        world.reconcile()
        world.settle(outcome="interrupted")
        world.change(suspend=False)
        assert len(world.reconcile().actions) == 1

    assert world.drive().status.phase == "Completed"


@pytest.mark.parametrize("reason", ["StoreAccessDenied", "CredentialsMissing", "BucketNotFound", "StoreMisaddressed", "StoreNotTrusted"])
def test_wrong_storage_stalls_a_new_run_at_once_and_a_begun_one_only_waits(make_world, reason):
    new, begun = make_world().at("prepare"), make_world().at("retrain")
    for world in (new, begun):
        end(world, outcome="failed", exit_code=20, reason=reason)

    assert [world.status.phase for world in (new, begun)] == ["Waiting"] * 2
    assert [world.condition("Stalled").status for world in (new, begun)] == ["True", "False"]


def test_a_stage_of_an_earlier_version_that_is_denied_waits_too(make_world):
    world = make_world().at("retrain")
    end(world, outcome="failed", exit_code=10, reason="StoreAccessDenied")

    assert world.status.phase == "Waiting"


def test_charges_of_an_earlier_version_for_the_world_count_no_longer(make_world):
    world = make_world().at("retrain")
    for _ in range(2):
        end(world, **STORE)
        world.wait(600)
        world.reconcile()
    rows = [row.model_copy(update={"charged": row.stage == "retrain" and row.outcome == "Failed"}) for row in world.rows()]
    world.run = world.run.model_copy(update={"status": world.status.model_copy(update={"stages": tuple(rows)})})
    end(world, **STORE)

    assert world.status.phase == "Waiting"


def test_a_newer_checkpoint_forgives_earlier_crashes(make_world):
    world = make_world().at("retrain")
    for step in range(10):
        end(world, outcome="failed", exit_code=1, checkpoint_step=step)
        world.wait(600)
        world.reconcile()

    assert [row.forgiven for row in world.rows("retrain")] == [True] * 7 + [False, False]
    assert world.live()


def test_a_lack_of_memory_is_not_forgiven(make_world):
    world = make_world(resources={"retrain": {"gpus": 1}}).at("retrain")
    for step in (10, 20):
        end(world, outcome="failed", exit_code=21, checkpoint_step=step)
        world.wait(600)
        world.reconcile()

    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "Failed")


def crash(world, node, checkpoint_step=5):
    end(world, outcome="failed", exit_code=1, reason="RuntimeError", checkpoint_step=checkpoint_step, node=node)
    world.wait(600)
    return world.reconcile()


def test_after_a_crash_another_node_is_preferred(make_world):
    world = make_world().at("retrain")
    (action,) = crash(world, "gpu-1").actions
    assert action.avoid_nodes == ("gpu-1",)
    assert world.rows("retrain")[0].node == "gpu-1"


def test_the_same_crash_on_two_nodes_ends_the_stage_early(make_world):
    world = make_world(retries={"limit": 9}).at("retrain")
    crash(world, "gpu-1")
    crash(world, "gpu-1")
    assert world.status.phase == "Running"
    crash(world, "gpu-2")

    assert world.status.phase == "Failed"
    assert world.status.message.startswith("retrain of the seed model: failed twice in the same way")


def test_a_crash_at_another_checkpoint_is_another_crash(make_world):
    world = make_world(retries={"limit": 9}).at("retrain")
    crash(world, "gpu-1", checkpoint_step=5)
    crash(world, "gpu-2", checkpoint_step=3)  # the newest one was damaged

    assert world.status.phase == "Running"


@pytest.mark.parametrize("how", [REJECTED, DISK, NODE_LOST, CLOCK], ids=["rejected", "disk", "lost", "clock"])
def test_after_a_fault_of_the_node_another_one_is_preferred(make_world, how):
    world = make_world().at("retrain")
    end(world, **how, node="gpu-1")
    world.wait(10)
    (action,) = world.reconcile().actions

    assert action.avoid_nodes == ("gpu-1",)


@pytest.mark.parametrize("how", [STORE, EVICTED, {"outcome": "failed", "exit_code": 21}], ids=["store", "eviction", "memory"])
def test_after_any_other_fault_every_node_will_do(make_world, how):
    world = make_world().at("retrain")
    end(world, **how, node="gpu-1")
    world.wait(10)
    world.reconcile()

    assert world.specs[world.live()[0].job].avoid_nodes == ()


def test_the_pods_own_reason_and_message_are_recorded(make_world):
    world = make_world().at("retrain")
    end(world, **REJECTED)

    row = world.rows("retrain")[0]
    assert (row.outcome, row.reason, row.message, row.charged) == ("Failed", "UnexpectedAdmissionError", "no healthy devices", False)
    assert world.condition("Ready").reason == "UnexpectedAdmissionError"


@pytest.mark.parametrize("reason", ["OutOfcpu", "OutOfmemory", "OutOfnvidia.com/gpu", "SomethingNewFromTheKubelet"])
def test_a_pod_that_never_ran_is_never_charged_whatever_the_kubelet_calls_it(make_world, reason):
    world = make_world().at("retrain")
    for _ in range(5):
        end(world, outcome="failed", result=False, pod_reason=reason)
        world.wait(600)
        world.reconcile()

    assert world.live()


def test_a_pod_over_its_own_disk_limit_is_charged_and_tried_once_more(make_world):
    world = make_world().at("retrain")
    how = {"outcome": "failed", "result": False, "exit_code": 137, "pod_reason": "Evicted", "over_disk_limit": True}
    end(world, **how, pod_message='Usage of EmptyDir volume "work" exceeds the limit "1Gi". ')
    assert (world.rows("retrain")[0].reason, world.rows("retrain")[0].charged) == ("DiskLimitExceeded", True)
    world.wait(10)
    world.reconcile()
    end(world, **how, pod_message="exceeds")

    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "DiskLimitExceeded")


def reasons_of_errors():
    """(reason, class) of every error that the stages and what they use raise with a literal reason."""
    for folder in (Path("jobs"), *(Path("ser_core", name) for name in ("data", "learn", "store"))):
        for path in sorted(folder.rglob("*.py")):
            for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
                kind = getattr(errors, getattr(call.func, "id", ""), None)
                if inspect.isclass(kind) and issubclass(kind, errors.SERError):
                    said = [word.value for word in call.keywords if word.arg == "reason"]
                    texts = [part.value for value in said for part in ast.walk(value) if isinstance(part, ast.Constant)]
                    yield from ((text, kind) for text in texts or [kind.__name__])


IN_SPITE_OF_THEIR_CLASS = {"CheckpointsDiffer"}
"""A store whose answers differ: nobody knows why."""


def test_every_reason_stands_in_one_row_that_fits_its_exit_code():
    for reason, kind in {(reason, kind) for reason, kind in reasons_of_errors() if reason not in OF_COMMANDS}:
        assert [row for row in TABLE if reason in row.reasons], f"add {reason} to ser_core/loop/deciding/faults.py"
        if reason not in IN_SPITE_OF_THEIR_CLASS:
            assert row_of(reason).fault is row_of("NotInTheTable", kind.exit_code).fault, reason


def test_no_reason_stands_in_two_rows():
    listed = [reason for row in TABLE for reason in row.reasons]
    assert sorted(listed) == sorted(set(listed))


def test_every_error_that_a_stage_can_raise_has_a_row():
    kinds = {kind.__name__ for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SERError)}
    assert kinds - OF_COMMANDS <= {reason for row in TABLE for reason in row.reasons}


@pytest.mark.parametrize(
    ("code", "fault"),
    [(10, "inputs"), (19, "inputs"), (20, "world"), (21, "memory"), (22, "unknown"), (24, "world"), (1, "unknown"), (137, "unknown")],
)
def test_a_reason_that_nobody_knows_is_judged_by_its_exit_code(code, fault):
    row = StageStatus(iteration=0, stage=StageKind.PREPARE, attempt=1, outcome=Outcome.FAILED, reason="FromALaterVersion", exit_code=code)
    assert fault_of(row) is Fault(fault)
