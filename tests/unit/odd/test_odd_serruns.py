"""What passes admission never breaks: odd specs and statuses, made from the CRD's schema (docs/testing.md, "Odd SERRuns and odd data")."""

from datetime import timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from odd.life import IDENTITY, one_look, whole_life
from odd.serruns import API, SPECS, odd_specs, odd_statuses, some
from unit.loop.conftest import START, World

from ser_core.api.serrun import SERRun
from ser_core.cli.access.serrun_file import read_serrun
from ser_core.cli.checks.spec import describe
from ser_core.errors import SERError, SpecError
from ser_core.store.objects.connect import connect
from ser_operator.facts.serruns.read_run import write_status

RETRAIN = {"gpus": 2, "cpu": "4", "memory": "16Gi"}
SPEC = {
    **SPECS[1],
    "loop": {"maxIterations": 2, "controls": ["full", "seedOnly"]},
    "resources": {"retrain": RETRAIN},
    "activeDeadline": "2h",
    "ttlAfterFinished": "1h",
    "budget": {"gpuHours": 9},
}
CHANGED = [
    SPEC,
    {**SPEC, "reopen": 1},
    {**SPEC, "resources": {"retrain": {**RETRAIN, "memory": "32Gi"}}},
    {**SPEC, "activeDeadline": "1s"},
    {**SPEC, "suspend": True},
]
"""What a user may have made of it meanwhile."""


def known_statuses():
    """Statuses from the lives of three runs: one with two failures, one that ends for want of memory, one that is suspended."""
    return [*life(SPEC, failing=(3, 9)), *life(SPEC, failing=range(1, 9), exit_code=21), *life(CHANGED[-1])]


def life(spec, failing=(), exit_code=20):
    world, found = World(SERRun.model_validate({**API, "metadata": IDENTITY, "spec": spec})), []
    for step in range(40):
        world.reconcile()
        found.append(write_status(world.status, {}))
        for job in world.live():
            world.end(*(("failed", exit_code) if step in failing else ("done",)), job=job)
        world.wait(30)
    return [status for number, status in enumerate(found) if status not in found[:number]]


@some(100)
@given(spec=odd_specs())
def test_an_odd_spec_is_carried_out_to_its_end_or_refused_by_name(spec):
    steps = list(whole_life({**API, "metadata": IDENTITY, "spec": spec}))
    assert steps[-1].status["phase"] in ("Completed", "Failed")


@some(200)
@given(spec=st.sampled_from(CHANGED), status=odd_statuses(known_statuses()))
def test_an_odd_status_is_believed_or_counts_as_lost(spec, status):
    one_look({**API, "metadata": IDENTITY, "spec": spec, "status": status}, START + timedelta(hours=1))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("odd") / "serrun.yaml"


@some(60)
@given(spec=odd_specs())
def test_an_odd_file_is_read_or_refused_with_its_line(file, spec):
    file.write_text(yaml.safe_dump({**API, "metadata": {"name": "odd"}, "spec": spec}, allow_unicode=True))
    try:
        run = read_serrun(file)
    except SpecError as error:
        assert error.message.startswith(str(file))
        return
    describe(run)
    if run.spec.storage.model_fields_set == {"uri"}:
        return
    try:
        connect(run.spec.storage)
    except SERError as error:
        assert error.message.startswith("storage.")
