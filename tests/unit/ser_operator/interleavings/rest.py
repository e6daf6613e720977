"""How a story ends: people are content, nothing fails any more, everybody is quick."""

from ser_operator.facts.reading import at, deleting_since

from .promises import check_known, check_suspended
from .server import KINDS

ROUNDS = 600
"""In which all runs must have come to rest: ten times as many as they need."""


async def come_to_rest(story):
    """First those that are suspended stay so. Then they are resumed, what has failed is tried again, and all is completed."""
    server, people = story.server, story.people
    await _until(story, lambda run: has_ended(run) or is_suspended(run))
    for run in server.runs.values():
        if run["spec"].get("suspend") and not has_ended(run):
            check_suspended(server, run)
    for key, run in server.runs.items():
        if run["spec"].get("suspend"):
            people.suspend(key)
    await _until(story, has_ended)
    for key, run in server.runs.items():
        if at(run, "status")["phase"] == "Failed":
            people.retry(key)
    await _until(story, has_completed)
    story.holds_lists = False
    await _deliver(story)
    check_known(server, story.process.cache)
    if story.process.wire.is_unheard:
        story.process.list_everything()
        await _deliver(story)


async def _until(story, is_at_rest):
    """All runs are at rest, and nothing happens any more."""
    for _ in range(ROUNDS):
        wire = story.process.wire
        for kind in KINDS if story.process.is_primed else ():
            if kind not in wire.watched:
                wire.watch(kind)
        if story.holds_lists and not story.process.lists:
            story.process.list_everything()
        await _deliver(story)
        steps = _steps(story)
        if story.process.is_primed and all(map(is_at_rest, story.server.runs.values())) and not steps:
            return
        for number in range(len(steps)):
            if steps := _steps(story):
                story.do(steps[number % len(steps)])
        story.let_pass(1 if steps else 20)
    told = [(key, at(run, "status").get("message")) for key, run in story.server.runs.items() if not is_at_rest(run)]
    raise AssertionError(f"no end: {told}")


def _steps(story):
    return [*story.controllers.steps(), *story.queue.admissions()]


async def _deliver(story):
    """All that is on its way arrives."""
    await story.settle()
    while (messages := story.messages()) or any(story.process.wire.news.values()):
        for wire, message in messages:
            wire.let_go(message)
        for key in [key for key, told in story.process.wire.news.items() if told]:
            story.process.tell(key)
        await story.settle()


def is_suspended(run):
    return run["spec"].get("suspend") and at(run, "status").get("phase") == "Suspended"


def has_ended(run):
    return at(run, "status").get("phase") in ("Completed", "Failed") and deleting_since(run) is None


def has_completed(run):
    return has_ended(run) and at(run, "status")["phase"] == "Completed"
