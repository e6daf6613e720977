"""Every Event has a name that the API server takes."""

import pytest
from unit.loop.conftest import START

from ser_core.api.values.forms import NAME
from ser_core.loop.observed import Event
from ser_operator.objects.recorder import event


@pytest.mark.parametrize("name", ["hh", "a" * 253, "a" * 229 + ".b", "a" * 228 + "--b"])
def test_whatever_its_run_is_called(name):
    told = event({"metadata": {"name": name, "namespace": "lab", "uid": "u"}}, Event("Normal", "Started", "x"), START, 0)
    assert NAME.has(told["metadata"]["name"])
