"""`kubectl explain serrun` reads as a manual, and `kubectl get` shows what is worth watching."""

import re
import time

import pytest
from e2e.admission.serruns import GOOD, collection
from unit.api.test_crd import SPEC_NODES

OBJECTS = [path for path, node in SPEC_NODES.items() if "properties" in node]


@pytest.fixture(scope="module")
def manual(control_plane, crd):
    """The API server publishes the schema a few seconds after the CRD."""
    deadline = time.monotonic() + 180
    while control_plane.kubectl("explain", "serrun.spec", check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return lambda path, *more: explained(control_plane.kubectl("explain", f"serrun.{path}", *more).stdout)


def explained(text):
    """Field by field what kubectl prints below FIELDS: (depth, name, description)."""
    text = text.split("FIELDS:\n")[-1]
    found = re.findall(r"^( *)(\w+)\t<\S+>.*\n((?: +[^\t\n]*\n)*)", text, re.MULTILINE)
    return [(len(indent) // 2 - 1, name, " ".join(description.split())) for indent, name, description in found]


def test_explain_shows_every_field(manual):
    shown, parents = [], ["spec"]
    for depth, name, _ in manual("spec", "--recursive"):
        parents = [*parents[: depth + 1], name]
        shown.append(".".join(parents))
    assert sorted(shown) == sorted({path.replace("[]", "") for path in SPEC_NODES if not path.endswith("[]")} - {"spec"})


@pytest.mark.parametrize("path", OBJECTS)
def test_explain_describes_every_field_with_default_and_range(manual, path):
    described = {name: text for _, name, text in manual(path.replace("[]", ""))}
    assert set(described) == set(SPEC_NODES[path]["properties"])
    for name, field in SPEC_NODES[path]["properties"].items():
        assert len(described[name]) > 10
        if "default" in field and field["type"] not in ("object", "array"):  # later fields have defaults that the API server does not write
            assert "Default:" in described[name]
        assert ("Range:" in described[name]) == ("minimum" in field)


def test_get_shows_where_a_run_is(control_plane, crd, namespace):
    status = {
        "phase": "Waiting",
        "conditions": [{"type": "Ready", "status": "False", "reason": "StoreUnavailable"}],
        "iteration": 2,
        "stage": "retrain",
        "progress": {"percent": 45, "step": 9, "total": 20, "unit": "steps", "updatedAt": "2026-01-31T12:00:00Z"},
        "learningStatus": "Status1",
        "bestIteration": 1,
        "rewardModel": {"uri": "s3://b/x", "manifestSHA256": "0", "accuracy": 0.75},
        "gpuHours": 1.5,
        "message": "loop 2 of 4",
    }
    control_plane.api().create(collection(namespace), GOOD)
    control_plane.api().patch(f"{collection(namespace)}/hh/status", {"status": status})
    head, row = control_plane.kubectl("get", "serruns", "-n", namespace).stdout.splitlines()
    assert head.split() == ["NAME", "PHASE", "REASON", "LOOP", "STAGE", "PERCENT", "LEARNING", "BEST", "ACCURACY", "AGE"]
    assert row.split()[:-1] == ["hh", "Waiting", "StoreUnavailable", "2", "retrain", "45", "Status1", "1", "0.75"]
    wide = control_plane.kubectl("get", "ser", "hh", "-n", namespace, "-o", "wide").stdout
    assert "GPU-HOURS" in wide
    assert "loop 2 of 4" in wide
