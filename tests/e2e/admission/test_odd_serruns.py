"""What a real API server admits never breaks, and what follows from it is admitted too: Jobs, Services, every status."""

import itertools

import pytest
from e2e.admission.serruns import collection
from hypothesis import given, reject
from odd.life import one_look, whole_life
from odd.serruns import API, odd_specs, odd_statuses, some
from pydantic import ValidationError
from unit.odd.test_odd_serruns import SPEC, known_statuses

from controlplane.cluster import ApiError
from controlplane.plane.api_client import APPLY
from ser_core.api.serrun import SERRun
from ser_core.api.values.forms import NEW

COLLECTIONS = {"Job": "/apis/batch/v1/namespaces/{}/jobs", "Service": "/api/v1/namespaces/{}/services"}
NUMBERS = itertools.count()


class Server:
    """A namespace of an API server."""

    def __init__(self, api, namespace):
        self.api, self.namespace, self.runs = api, namespace, collection(namespace)

    def admit(self, spec):
        """The run as it is stored; None if it is refused."""
        body = {**API, "metadata": {"name": f"odd-{next(NUMBERS)}"}, "spec": spec}
        try:
            return self.api.create(f"{self.runs}?fieldValidation=Strict", body)
        except ApiError as error:
            assert error.code == 422, error
            if "expected int, got float64" in error.message:
                reject()  # 1.0 where a rule reads a whole number: CEL takes it for no number, `ser run` for 1
            return None

    def patch_status(self, body, status, kind, query=""):
        metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid")}
        return self.api.patch(f"{self.runs}/{metadata['name']}/status{query}", {**API, "metadata": metadata, "status": status}, kind)

    def take(self, body, step):
        """The server takes all that one look at a run would write."""
        for one in step.objects:
            self.api.create(f"{COLLECTIONS[one['kind']].format(self.namespace)}?dryRun=All&fieldValidation=Strict", one)
        return self.patch_status(body, step.status, APPLY, "?fieldManager=ser-operator&force=true&fieldValidation=Strict")

    def forget(self, body):
        self.api.delete(f"{self.runs}/{body['metadata']['name']}")


@pytest.fixture(scope="module")
def server(control_plane, crd):
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "odd-"}}
    return Server(control_plane.api(), control_plane.api().create("/api/v1/namespaces", body)["metadata"]["name"])


def is_taken_by_the_types(spec):
    try:
        SERRun.model_validate({**API, "metadata": {"name": "odd"}, "spec": spec}, context=NEW)
    except ValidationError:
        return False
    return True


@some(200)
@given(spec=odd_specs())
def test_what_is_admitted_is_carried_out_and_what_is_refused_the_types_refuse(server, spec):
    body = server.admit(spec)
    assert (body is not None) == is_taken_by_the_types(spec)
    if body is None:
        return
    steps = list(whole_life(body))
    assert "InvalidSpec" not in str(steps[0].status), steps[0].status["message"]
    for step in steps:
        if step.objects or step is steps[-1]:
            server.take(body, step)
    server.forget(body)


@some(100)
@given(status=odd_statuses(known_statuses()))
def test_whatever_stands_in_a_status_can_be_replaced(server, status):
    body = server.admit(SPEC)
    try:
        odd = server.patch_status(body, status, "application/merge-patch+json")
    except ApiError as error:
        assert error.code == 422, error
    else:
        server.take(odd, one_look(odd))
    server.forget(body)
