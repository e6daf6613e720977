"""The status, as it is written, stays below 32 KiB whatever happens, and still holds all that a later stage reads. The copy of a
template comes on top, with its own 8 KiB."""

import json

import pytest

from ser_core.api.run_template import MAX_BYTES
from ser_core.api.status import TemplateStatus
from ser_core.loop.text import clip

LIMIT = 32 * 1024


def worst(text):
    """A failure that says as much as the contract allows."""
    return {"reason": "R" * 64, "message": (text * 900)[:900], "node": "n" * 253}


def largest_template(text):
    """The copy of a template of the most bytes that one may have."""
    spec = {"queueName": ""}
    return TemplateStatus(
        name="t" * 253, spec={"queueName": (text * MAX_BYTES)[: (MAX_BYTES - len(json.dumps(spec))) // len(text.encode())]}
    )


@pytest.mark.parametrize("templated", [False, True])
@pytest.mark.parametrize(("text", "loss_gain"), [("x", -1 / 3), ("😀", None)])
def test_the_worst_of_failures_at_32_iterations(make_world, make_results, text, loss_gain, templated):
    results = make_results(
        dev=[0.9, *(0.8 - n / 3000 for n in range(32))],
        heldout=2 / 3,
        agreement=2 / 3,
        notes=(text * 400,),
        pairs=10_000_000,
        stopped="S" * 64,
        loss_gain=loss_gain,
    )
    world = make_world(
        results,
        name="n" * 253,
        uid="u" * 36,
        loop={"maxIterations": 32, "controls": ["pseudoLabelOnce", "full", "seedOnly"], "stopping": {"patience": 32, "rollback": "none"}},
        policy={"base": "hf://org/policy", "sft": {}},
        resources={"retrain": {"gpus": 7, "nodes": 3}},
    )
    longest = len("s3://") + 63 + len("/") + 1024  # what S3 allows of a bucket and a key
    world.uri = "s3://" + "b" * (longest - len("s3:///iter-0000/control-pseudo-label-once/MANIFEST.json"))
    world.image = "i" * 512
    if templated:
        world.run = world.run.model_copy(update={"status": world.status.model_copy(update={"template": largest_template(text)})})
    largest = 0
    ends = ["failed", "interrupted", "interrupted", "failed", "done"]
    while world.status.phase not in ("Completed", "Failed"):
        world.wait(301)
        if world.live():
            job = world.live()[0]
            outcome = ends[(job.attempt - 1) % len(ends)]
            world.end(outcome, **({} if outcome == "done" else worst(text)), checkpoint_step=10**6 + job.attempt)
        world.reconcile()
        largest = max(largest, len(world.status.model_dump_json(by_alias=True, exclude_none=True).encode()))

    assert world.status.phase == "Completed", world.status.message
    assert len(world.status.iterations) == 33
    room = MAX_BYTES + 512 if templated else 0
    assert LIMIT // 2 < largest - room < LIMIT
    first, last = world.status.iterations[1], world.status.iterations[-1]
    assert (first.monitors, first.dev_accuracy is None) == (None, False), "the oldest loop is told with fewer figures"
    assert (last.monitors is None, last.accuracy_low is None) == (False, False)


def test_a_status_remembers_the_last_eight_failures(make_world):
    world = make_world().at("retrain")
    for step in range(20):
        world.settle(outcome="interrupted", checkpoint_step=step)

    assert [row.checkpoint_step for row in world.rows("retrain")][:-1] == list(range(12, 20))


def test_charged_attempts_are_not_forgotten_while_their_stage_is_tried(make_world):
    world = make_world(retries={"limit": 4}).at("retrain")
    for code in (1, 2, 4):
        world.settle(outcome="failed", exit_code=code)
        world.wait(700)
        world.reconcile()
        for _ in range(20):
            world.settle(outcome="interrupted")
            world.wait(700)
            world.reconcile()
    assert world.status.phase == "Running"
    assert [row.exit_code for row in world.rows("retrain") if row.charged] == [1, 2, 4]

    world.settle(outcome="failed", exit_code=8)
    assert world.status.phase == "Failed"


def test_committed_stages_are_forgotten_when_nothing_reads_them_any_more(make_world):
    world = make_world(loop={"maxIterations": 4, "controls": ["pseudoLabelOnce"]}).at("retrain", 4)
    assert {(row.stage.value, row.iteration) for row in world.rows()} == {
        ("prepare", 0),
        ("label", 1),
        ("filter", 3),
        ("retrain", 3),
        ("label", 4),
        ("filter", 4),
        ("retrain", 4),
    }
    world.drive()

    assert ("label", 1) not in {(row.stage.value, row.iteration) for row in world.rows()}


@pytest.mark.parametrize(
    ("message", "limit", "clipped"),
    [
        ("short", 10, "short"),
        ("two\nlines\x00", 20, "two lines"),
        ("a" * 20, 10, "a" * 7 + "…"),
        ("one two three", 10, "one two…"),
        ("one twofold", 10, "one…"),
        ("a " + "b" * 20, 10, "a bbbbb…"),
        ('"' * 20, 10, '"' * 3 + "…"),
        ("😀" * 20, 10, "😀…"),
    ],
)
def test_a_message_is_cut_by_its_size_in_json(message, limit, clipped):
    assert clip(message, limit) == clipped
