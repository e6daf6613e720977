"""What another version has written: a stage refuses by name what it does not know, and everything else keeps it."""

import json
import re

import pytest

from ser_core.api import server_defaults
from ser_core.api.crd import crd
from ser_core.api.known_part import read_known, read_status
from ser_core.api.model import unknown_fields
from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.stage import ManifestRef, RunIdentity, StageResult, StageSpec, UnknownMetrics
from ser_core.api.stage_wire import ALWAYS_SENT, NOT_SENT, read_stage_spec, write_stage_spec
from ser_core.api.status import Outcome, Phase, SERRunStatus, StageKind, StageStatus
from ser_core.errors import SpecError

MINIMAL = {"rewardModel": {"base": "hf://a/b"}, "data": {"source": {"uri": "hf://c/d"}}, "storage": {"uri": "s3://bucket/x"}}
READ_BY_STAGES = {"reward_model", "data", "training", "loop", "policy", "storage", "hub", "from_"}


def stage(**spec):
    return StageSpec(
        run=RunIdentity(namespace="lab", name="climb", uid="u"),
        stage=StageKind.RETRAIN,
        iteration=0,
        attempt=1,
        spec=SERRunSpec.model_validate({**MINIMAL, **spec}),
        inputs={"prepared": ManifestRef(stage=StageKind.PREPARE, iteration=0, uri="s3://x", sha256="0" * 64)},
        threads=2,
    )


def sent(spec):
    return json.loads(write_stage_spec(spec))


# What goes to a stage


def test_a_stage_is_sent_what_differs_from_the_defaults_and_nothing_else():
    assert sent(stage())["spec"] == MINIMAL
    assert sent(stage(training={"epochs": 2, "seed": 7}))["spec"]["training"] == {"seed": 7}
    assert sent(stage(policy={"base": "hf://p/q", "sft": {}}))["spec"]["policy"] == {"base": "hf://p/q", "sft": {}}


def test_what_is_sent_is_read_as_it_was_but_for_what_no_stage_reads():
    planned = {"resources": {"retrain": {"gpus": 2}}, "budget": {"gpuHours": 1}, "activeDeadline": "1h", "queueName": "q", "suspend": True}
    learnt = {
        "training": {"seed": 3},
        "policy": {"base": "hf://p/q", "kl": {"target": 6}},
        "loop": {"rule": "paper", "retrainFrom": "base"},
    }

    read = read_stage_spec(write_stage_spec(stage(**planned, **learnt)), "0.1.0", None)

    assert read == stage(**learnt)


def prepared(**spec):
    return stage(**spec).model_copy(update={"stage": StageKind.PREPARE})


@pytest.mark.parametrize(("split", "seed", "said"), [(0, 0, None), (0, 3, 0), (5, 0, 5), (3, 3, 3)])
def test_the_seed_of_the_split_is_sent_to_prepare_alone_and_where_0_1_0_would_split_by_another(split, seed, said):
    spec = {"data": {**MINIMAL["data"], "splitSeed": split}, "training": {"seed": seed}}

    assert sent(prepared(**spec))["spec"]["data"].get("splitSeed") == said
    assert "splitSeed" not in sent(stage(**spec))["spec"]["data"]
    assert read_stage_spec(write_stage_spec(prepared(**spec)), "0.2.0", None).spec.data.split_seed == split


def test_prepare_is_told_which_gpus_later_stages_get_and_nothing_else_of_their_pods():
    resources = {"retrain": {"gpus": 2, "gpuMemory": "40Gi", "memory": "64Gi"}, "filter": {"nodes": 1, "cpu": "2"}}
    told = sent(prepared(resources=resources))["spec"]["resources"]
    assert told["retrain"] == {"gpus": 2, "gpuMemory": "40Gi"}
    assert "filter" not in told


def test_every_field_of_the_spec_is_either_read_by_stages_or_not_sent():
    """A new field is put into one of the two: `stage_wire.NOT_SENT`, or the set of this test."""
    assert READ_BY_STAGES.isdisjoint(name for name, all_of_it in NOT_SENT.items() if all_of_it is True)
    assert READ_BY_STAGES | set(NOT_SENT) == set(SERRunSpec.model_fields)


def at(document, path):
    for name in path.split("."):
        document = document[name]
    return document


def test_a_default_that_changes_is_always_sent():
    """An image of version 0.1.0 fills in the defaults of 0.1.0."""
    full = SERRunSpec.model_validate(
        {**MINIMAL, "rewardModel": {"base": "hf://a/b", "adapter": {}}, "policy": {"base": "hf://p/q", "sft": {}, "adapter": {}}}
    ).model_dump(mode="json", by_alias=True)
    then = {path: value for path, value in server_defaults.VALUES.items() if "[]" not in path and not path.startswith("resources.")}
    changed = {path for path, value in then.items() if at(full, path) != value}
    assert {f"spec.{path}" for path in changed} <= set(ALWAYS_SENT)


def test_what_is_always_sent_is_sent_when_it_has_its_default(monkeypatch):
    monkeypatch.setattr("ser_core.api.stage_wire.ALWAYS_SENT", ("version", "spec.training.epochs", "spec.policy.steps"))
    assert sent(stage())["spec"]["training"] == {"epochs": 2}
    assert "policy" not in sent(stage())["spec"]
    assert sent(stage())["version"] == 1


# What a stage does not know


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"spec": {**MINIMAL, "judge": {"model": "x"}}}, "spec.judge"),
        ({"spec": {**MINIMAL, "training": {"curriculum": {}}}}, "spec.training.curriculum"),
        ({"spec": {**MINIMAL, "loop": {"rule": "oracle"}}}, "spec.loop.rule"),
        ({"later": 1}, "later"),
        ({"version": 2}, "version"),
        ({"inputs": {"prepared": {"stage": "prepare", "iteration": 0, "uri": "s3://x", "sha256": "0", "part": 3}}}, "inputs.prepared.part"),
    ],
)
def test_a_stage_refuses_what_it_does_not_know_by_name_and_says_which_image_does(change, named):
    text = json.dumps({**sent(stage()), **change})

    with pytest.raises(SpecError) as refused:
        read_stage_spec(text, "0.1.0", "0.3.0")

    assert (refused.value.reason, refused.value.exit_code) == ("StageImageTooOld", 10)
    assert f"{named}: needs a stage image that knows it, and this one (0.1.0) does not" in refused.value.message
    assert "0.3.0 or later" in refused.value.hint


def test_a_stage_spec_that_is_wrong_in_any_version_is_told_as_such():
    with pytest.raises(SpecError, match=r"SER_STAGE: threads: 0: .*greater than") as refused:
        read_stage_spec(json.dumps({**sent(stage()), "threads": 0}), "0.1.0", None)
    assert refused.value.reason == "SpecError"


# What is kept


LATER = {
    "phase": "Resting",
    "learningStatus": "Status3",
    "judge": {"uri": "s3://x"},
    "conditions": [{"type": "Judged", "status": "True", "reason": "Fine", "by": "somebody"}],
    "stages": [{"iteration": 0, "stage": "judge", "attempt": 1, "outcome": "Doubted", "mode": "peek", "forgiven": True}],
    "iterations": [{"iteration": 0, "learningStatus": "Seed", "wins": 3}],
}


def test_a_status_of_a_later_version_is_kept_as_it_is():
    written = SERRunStatus.model_validate(LATER).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written == LATER


def test_unknown_values_are_no_known_ones():
    status = SERRunStatus.model_validate(LATER)
    (row,) = status.stages
    assert not any(value.is_known for value in (status.phase, status.learning_status, row.stage, row.outcome))
    assert row.outcome not in list(Outcome)
    assert status.phase == Phase("Resting") != Phase.RUNNING
    assert {Phase("Resting"): 1}[Phase("Resting")] == 1
    assert all(phase.is_known and Phase(phase.value) is phase for phase in Phase)
    assert not Phase("RUNNING").is_known


def test_a_result_of_a_later_version_is_read():
    result = StageResult.model_validate(
        {
            "outcome": "shared",
            "metrics": {"kind": "judge", "wins": 3},
            "manifest": {"stage": "judge", "iteration": 1, "uri": "s3://x", "sha256": "0", "key": "k"},
        }
    )
    assert isinstance(result.metrics, UnknownMetrics)
    assert unknown_fields(result) == ("manifest.key", "metrics.wins")
    assert json.loads(result.model_dump_json(by_alias=True, exclude_unset=True))["metrics"] == {"kind": "judge", "wins": 3}


def test_the_object_of_a_run_keeps_what_a_later_version_has_written():
    document = SERRun(metadata={"name": "a"}, spec=MINIMAL, status=SERRunStatus.model_validate(LATER)).written()
    document["later"] = 1
    document["spec"] |= {"judge": {"model": "x"}, "training": {**document["spec"]["training"], "curriculum": {"epochs": [1, 2]}}}

    run = SERRun.read(document)

    assert run.model_copy(update={"status": run.status}).written() == document


def test_fields_that_are_not_known_are_told_apart_from_wrong_ones():
    document = {**MINIMAL, "training": {"epochs": 3, "curriculum": 1}, "loop": {"thresholds": {"top": 1}}, "judge": None}
    spec, unknown = read_known(SERRunSpec, document)
    assert spec.training.epochs == 3
    assert {one.field for one in unknown} == {"training.curriculum", "loop.thresholds.top", "judge"}
    with pytest.raises(ValueError, match="epochs"):
        read_known(SERRunSpec, {**document, "training": {"epochs": 0}})


@pytest.mark.parametrize(
    "status", [{"phase": "Nonsense", "stages": 1}, {"stages": "none"}, [], "x", {"phase": 1}, {"finishedAt": 1, "threads": "x"}]
)
def test_a_status_that_no_version_can_have_written_is_lost(status):
    assert read_status(status) == SERRunStatus()


@pytest.mark.parametrize(
    "end",
    [
        {"phase": "Completed"},
        {"phase": "Failed"},
        {"phase": "Cancelled", "finishedAt": "2026-01-31T12:00:00Z"},
        {"phase": "Archived", "conditions": [{"type": "Completed", "status": "True", "reason": "Completed"}]},
        {"phase": 1, "finishedAt": "2026-01-31T12:00:00Z"},
    ],
)
@pytest.mark.parametrize("rest", [{}, {"stages": "none"}, {"iterations": [{"iteration": {}}], "threads": "many"}])
def test_a_run_that_has_ended_has_ended_whatever_else_its_status_holds(end, rest):
    assert read_status({**end, **rest}).has_ended


@pytest.mark.parametrize("phase", ["Running", "Waiting", "Pending", "Somewhere"])
def test_a_run_that_has_not_ended_has_not(phase):
    conditions = [{"type": "Completed", "status": "False", "reason": "Running"}]
    assert not SERRunStatus.model_validate({"phase": phase, "conditions": conditions}).has_ended


# What the API server does


def fields(schema, path=""):
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from fields(inner, f"{path}.{name}".removeprefix("."))
    if "properties" in schema.get("items", {}):
        yield from fields(schema["items"], f"{path}[]")


RUN = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def test_the_api_server_writes_the_defaults_of_the_first_version_only():
    """So that a field that an older operator does not know was set by a user."""
    written = {path: field["default"] for path, field in fields(RUN["spec"]) if "default" in field}
    assert written.keys() <= {*server_defaults.VALUES, *server_defaults.OBJECTS}
    assert not {path for path, value in written.items() if path in server_defaults.VALUES and value != server_defaults.VALUES[path]}


def test_the_api_server_takes_the_status_of_a_later_version():
    records = {path: field for path, field in fields(RUN["status"]) if "properties" in field}
    assert {"", "conditions[]", "stages[]", "iterations[]"} <= records.keys()
    assert all(record["x-kubernetes-preserve-unknown-fields"] for record in records.values())
    assert not any("enum" in field for path, field in fields(RUN["status"]) if path != "conditions[].status")


def test_a_row_of_a_later_version_stays_itself_when_its_end_is_noted():
    row = StageStatus.model_validate({"iteration": 0, "stage": "prepare", "attempt": 1, "key": "k"})
    assert row.model_copy(update={"outcome": Outcome.DONE}).model_dump()["key"] == "k"


def test_a_rule_asks_whether_a_field_is_there_before_it_reads_one_that_may_be_absent():
    """A later field has no default that the API server writes; a rule that reads it unasked refuses every change of a run without it."""
    for path, field in fields(RUN["spec"]):
        absent = [
            name for name, inner in field.get("properties", {}).items() if "default" not in inner and name not in field.get("required", ())
        ]
        for rule in (one["rule"] for one in field.get("x-kubernetes-validations", ())):
            read = {(owner, name) for name in absent for owner in re.findall(rf"\b(self|oldSelf)\.{name}\b", rule)}
            unasked = [f"{owner}.{name}" for owner, name in read if f"has({owner}.{name})" not in rule]
            assert not unasked, f"spec.{path}: {rule} reads {', '.join(unasked)} unasked"
