"""All that the project does with a SERRun as an API server holds it: read, plan to the end, render, record, measure, show."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from unit.loop.conftest import START, Results, World

from ser_core.api.immutability import forbidden_changes
from ser_core.api.serrun import SERRun
from ser_core.api.stage import StageSpec
from ser_core.cli.access.node_fit import fits
from ser_core.cli.views.evolution_view import evolution_view
from ser_core.cli.views.status_view import status_view
from ser_core.cli.views.why_view import explain
from ser_core.errors import SpecError
from ser_core.loop.observed import Observed, Plan, StartStage
from ser_core.loop.plan import TERMINAL, plan
from ser_operator.facts.kept import kept
from ser_operator.facts.known_run import known_run
from ser_operator.facts.leftovers import needless, seconds_to_needless
from ser_operator.facts.serruns.allow_lists import judged, refusal, unsupported
from ser_operator.facts.serruns.read_run import UNKNOWN_STAGE, read_run, unreadable, write_status
from ser_operator.facts.view import View
from ser_operator.objects import gang, render
from ser_operator.objects.recorder import event
from ser_operator.pages.run_page import RunPage
from ser_operator.settings import Settings

Object = dict[str, Any]

SETTINGS = Settings(image="registry.example/ser:1")
NODE = {"metadata": {"name": "node"}, "status": {"allocatable": {"cpu": "64", "memory": "262144Ki", "nvidia.com/gpu": "8"}}}
IDENTITY = {"name": "odd", "namespace": "lab", "uid": "5f2c", "generation": 1, "resourceVersion": "1"}


@dataclass(frozen=True, slots=True)
class Step:
    """What one look at a run would write to the cluster."""

    status: Object
    objects: tuple[Object, ...] = ()
    """Jobs and Services."""


def whole_life(body: Object) -> Iterator[Step]:
    """Every look at a run of which each stage succeeds, up to its end; suspended runs and short deadlines are helped on."""
    run = _read(body)
    if isinstance(run, SpecError):
        yield _refused(body, run)
        return
    world = World(run, Results(stop_at=2))
    for _ in range(60):
        planned = world.plan()
        yield _step(world.run, body, planned, world.now)
        for action in planned.actions:
            world.act(action)
        world.save(planned)
        if planned.status.phase in TERMINAL:
            break
        if world.live():
            world.wait(1)
            world.end("done")
        elif planned.status.phase == "Suspended":
            world.change(suspend=False)
        else:
            world.wait(planned.requeue_after or 1)
    show(world.run, world.now)


def one_look(body: Object, now: datetime = START) -> Step:
    """One look at a run, whatever its status says."""
    measure(body)
    with contextlib.suppress(ValidationError):  # which `ser status` turns into an error of its own
        show(SERRun.model_validate(body), now)
    run = _read(body)
    if isinstance(run, SpecError):
        return _refused(body, run)
    return _step(run, body, plan(run, Observed(image=SETTINGS.image, threads=2), now), now)


def measure(body: Object) -> None:
    """The run's metrics."""
    page = RunPage()
    page.update([known_run(kept("SERRun", body))], START)
    page.text()


def show(run: SERRun, now: datetime) -> None:
    """What the commands of `ser` print."""
    console = Console(file=io.StringIO(), width=80, markup=False, highlight=False, emoji=False)
    console.print(status_view(run, now, verbose=True), evolution_view(run.status, None, 80))
    explain(run, (), now, "odd", on_cluster=True)
    assert not forbidden_changes(run.spec, run.spec, run.status)
    fits(run.spec, [NODE])


def _read(body: Object) -> SERRun | SpecError:
    try:
        return read_run(body)
    except SpecError as error:
        assert "spec." in error.message or error.reason == UNKNOWN_STAGE, error.message
        return error


def _refused(body: Object, error: SpecError) -> Step:
    before = body.get("status") or {}
    status = unreadable(body, error, START)
    return Step(before if status is None else write_status(status, before))


def _step(run: SERRun, body: Object, planned: Plan, now: datetime) -> Step:
    refusal(body, run, SETTINGS, judged(body, run))
    unsupported(run)
    view = View(body, run, (), (), now)
    needless(view, planned)
    seconds_to_needless(view, planned)
    for number, told in enumerate(planned.events):
        event(body, told, now, number)
    status = write_status(planned.status, body.get("status") or {})
    measure({**body, "status": status})
    starts = [action for action in planned.actions if isinstance(action, StartStage)]
    return Step(status, tuple(one for action in starts for one in _objects(body, run, action)))


def _objects(body: Object, run: SERRun, action: StartStage) -> Iterator[Object]:
    job = render.job(body, run, action, SETTINGS.image, SETTINGS)
    told = {entry["name"]: entry.get("value") for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    sent, wanted = StageSpec.model_validate_json(told["SER_STAGE"]), action.spec
    assert sent.model_copy(update={"spec": wanted.spec}) == wanted
    yield job
    if "subdomain" in job["spec"]["template"]["spec"]:
        yield gang.service(run, render.owner(run))
