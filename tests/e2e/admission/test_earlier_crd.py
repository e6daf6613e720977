"""A cluster whose CRD was of version 0.1.0 when its runs were made: they are read, recorded and changed under today's."""

import lzma
import time
from pathlib import Path

import pytest
from e2e.admission.serruns import GOOD, changed, collection
from odd.life import one_look

from controlplane.cluster import ApiError
from controlplane.faults.home import ROOT
from controlplane.plane.api_client import APPLY

EARLIER = Path(__file__).parents[2] / "fixtures" / "crd-0.1.0.yaml.xz"
ODD = {"cpu": "1Ki", "memory": "1m"}
"""What 0.1.0 admitted and today's CRD refuses."""
ENDLESS = "9999999999999999h"
RUN = changed("spec", {**GOOD["spec"], "resources": {"prepare": ODD}, "activeDeadline": ENDLESS})
RUN["spec"]["storage"]["region"] = "0"


def install(plane, crd, refuses):
    """Apply a CRD and wait until its schema is at work, which shows in whether it ``refuses`` the odd run."""
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=crd)
    deadline = time.monotonic() + 60
    while is_refused(plane, RUN) != refuses:
        assert time.monotonic() < deadline, "the API server does not take the new schema"
        time.sleep(0.1)


def is_refused(plane, run):
    try:
        plane.api().create(f"{collection('default')}?dryRun=All", run)
    except ApiError:
        return True
    return False


@pytest.fixture(scope="module")
def earlier_run(control_plane, crd):
    """Path of a run that was made under the earlier CRD; today's is at work."""
    api, today = control_plane.api(), (ROOT / "crds" / "serruns.ser.dev.yaml").read_text()
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "earlier-"}}
    runs = collection(api.create("/api/v1/namespaces", body)["metadata"]["name"])
    try:
        install(control_plane, lzma.decompress(EARLIER.read_bytes()).decode(), refuses=False)
        api.create(runs, RUN)
    finally:
        install(control_plane, today, refuses=True)
    return f"{runs}/hh"


def record(api, path, status):
    body = {**{key: GOOD[key] for key in ("apiVersion", "kind")}, "metadata": {"name": "hh"}, "status": status}
    return api.patch(f"{path}/status?fieldManager=ser-operator&force=true", body, APPLY)


def test_a_run_with_values_that_are_refused_now_is_planned_and_recorded(control_plane, earlier_run):
    api = control_plane.api()
    step = one_look(api.get(earlier_run))
    (job,) = step.objects
    api.create(f"/apis/batch/v1/namespaces/{job['metadata']['namespace']}/jobs?dryRun=All&fieldValidation=Strict", job)
    assert record(api, earlier_run, step.status)["status"]["phase"] == "Running"


@pytest.mark.parametrize("change", [{"suspend": True}, {"resources": {"label": {"cpu": 4}}}, {"activeDeadline": "1h"}])
def test_its_other_fields_may_be_changed(control_plane, earlier_run, change):
    control_plane.api().patch(f"{earlier_run}?dryRun=All", {"spec": change})


@pytest.mark.parametrize("change", [{"resources": {"prepare": {"cpu": "2Ki"}}}, {"ttlAfterFinished": ENDLESS}])
def test_it_gets_no_new_value_of_that_kind(control_plane, earlier_run, change):
    with pytest.raises(ApiError) as refused:
        control_plane.api().patch(f"{earlier_run}?dryRun=All", {"spec": change})
    assert refused.value.code == 422


def test_a_status_that_shrinks_loses_its_rows(control_plane, earlier_run):
    api = control_plane.api()
    status = one_look(api.get(earlier_run)).status
    rows = [{**status["stages"][0], "attempt": number} for number in (1, 2, 3)]
    record(api, earlier_run, {**status, "stages": rows})
    assert record(api, earlier_run, {**status, "stages": rows[1:2]})["status"]["stages"] == rows[1:2]
