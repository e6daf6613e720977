"""`ser validate`: all problems at once, and nothing left behind."""

import json
import re
import shlex
from dataclasses import replace
from unittest.mock import Mock

import pytest
import yaml

from ser_core.api.serrun import SERRunSpec
from ser_core.cli.access.serrun_file import read_serrun
from ser_core.cli.access.stored_run import SOON
from ser_core.cli.checks.spec import unused
from ser_core.errors import SERError
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import create_run


@pytest.fixture
def serrun(tmp_path, small_model):
    """Writes a SERRun over 60 pairs; ``edit`` may break its spec."""
    rows = [{"prompt": f"question {number}", "chosen": f"good {number}", "rejected": f"bad {number}"} for number in range(60)]
    (tmp_path / "pairs.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + '{"prompt": "x", "chosen": "", "rejected": "y"}\n'
    )

    def write(edit=lambda spec: None):
        spec = {
            "rewardModel": {"base": f"file://{small_model}", "maxLength": 32},
            "data": {"source": {"uri": "file://./pairs.jsonl", "seedFraction": 0.3, "heldoutFraction": 0.2}},
            "storage": {"uri": "file://./store"},
        }
        edit(spec)
        file = tmp_path / "serrun.yaml"
        file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "small"}, "spec": spec}))
        return file

    return write


def test_a_good_run_is_ready(ser, serrun, tmp_path):
    file = serrun()
    ended = ser("validate", file)
    assert ended.code == 0, ended.err
    assert ended.out.endswith(f"ready: ser run {file}\n")
    assert "61 rows" in ended.out
    assert "dropped 1: EmptyAnswer 1" in ended.out


def test_what_each_stage_needs_of_its_gpus_is_told(ser, serrun):
    gpus = {"gpus": 1, "gpuMemory": "80Gi"}
    told = ser("validate", serrun(lambda spec: spec.update(resources={"retrain": gpus}))).out
    assert re.search(r"stage retrain: .* on 1 GPU", told)
    assert re.search(r"stage retrain: .* of main memory a pod", told)


def test_a_wrong_spec_is_a_failed_check_for_who_reads_json(ser, serrun):
    ended = ser("validate", serrun(lambda spec: spec.update(loop={"maxIteration": 3})), "-o", "json")
    told = json.loads(ended.out)
    (check,) = told["checks"]
    assert (ended.code, told["ready"], check["name"]) == (10, False, "spec")
    assert "did you mean maxIterations" in check["error"]["message"] and check["error"]["message"] in ended.err


def test_a_run_that_no_loop_can_train_is_told(ser, serrun):
    ended = ser("validate", serrun())
    told = ended.err
    assert "seed 18 · pool 30 · held-out 12" in ended.out, "a dev part says nothing where all of the seed is learnt"
    assert "warning: training.pairsPerStep is 64 and of the pool's 30 pairs a loop keeps at most 18: " in told
    assert "warning: 18 labels decide" in told
    assert "dev has" not in told
    assert "loop.thresholds.minSamples is 600" in ser("validate", serrun(lambda spec: spec.update(loop={"rule": "paper"}))).err


def test_a_control_that_needs_labels_which_are_not_there_is_refused_before_anything_is_trained(ser, serrun, tmp_path):
    rows = [{"prompt": f"more {number}", "answer_1": f"this {number}", "answer_2": f"that {number}"} for number in range(60)]
    (tmp_path / "unlabeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    heldout = (tmp_path / "pairs.jsonl").read_text().replace("question", "held-out question")
    (tmp_path / "heldout.jsonl").write_text(heldout)
    data = {"seed": {"uri": "file://./pairs.jsonl"}, "unlabeled": {"uri": "file://./unlabeled.jsonl"}}
    data["heldout"] = {"uri": "file://./heldout.jsonl"}
    told = ser("validate", serrun(lambda spec: spec.update(data=data, loop={"controls": ["full"]})))
    assert (told.code, "data   failed NoHiddenLabels" in told.out) == (10, True), told.err
    assert "hint: leave full out of loop.controls" in told.err
    assert ser("validate", serrun(lambda spec: spec.update(data=data, loop={"controls": ["seedOnly"]}))).code == 0


def test_the_answers_of_a_shown_pair_without_a_label_are_not_called_better_and_worse(ser, serrun, tmp_path):
    rows = [{"prompt": f"more {number}", "answer_1": "good " * 60, "answer_2": f"bad {number}"} for number in range(60)]
    (tmp_path / "unlabeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "heldout.jsonl").write_text((tmp_path / "pairs.jsonl").read_text().replace("question", "held-out question"))
    parts = ("pairs", "unlabeled", "heldout")
    data = {"seed" if name == "pairs" else name: {"uri": f"file://./{name}.jsonl"} for name in parts}
    told = ser("validate", serrun(lambda spec: spec.update(data=data))).out
    assert ("one answer: " in told, "other answer: " in told, "better: " in told) == (True, True, False)


def test_the_command_that_it_prints_can_be_pasted_into_a_shell(ser, serrun, tmp_path):
    file = serrun().rename(tmp_path / "my run's.yaml")
    command = ser("validate", file).out.splitlines()[-1].removeprefix("ready: ")
    assert shlex.split(command) == ["ser", "run", str(file)]
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_no_check_waits_for_a_silent_store_as_long_as_a_stage_would(ser, serrun, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr("ser_core.cli.commands.reading.validate.SOON", replace(SOON, deadline_seconds=0))

    def move(spec):
        spec["rewardModel"]["base"] = "s3://bucket/model"
        spec["data"]["source"]["uri"] = "s3://bucket/pairs.jsonl"
        spec["storage"] = {"uri": "s3://bucket/runs", "endpoint": "http://127.0.0.1:9"}

    ended = ser("validate", serrun(move))
    assert ended.code == 20
    assert {line.split()[0]: line.split()[1] for line in ended.out.splitlines()} == {
        "spec": "ok",
        "store": "failed",
        "model": "failed",
        "data": "failed",
    }


def test_a_silent_store_is_waited_for_once_by_all_checks(ser, serrun, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    waited = []
    soon = replace(SOON, clock=lambda: sum(waited), sleep=waited.append, uniform=lambda _, longest: longest)
    monkeypatch.setattr("ser_core.cli.commands.reading.validate.SOON", soon)

    def move(spec):
        spec["rewardModel"]["base"] = "s3://bucket/model"
        spec["data"]["source"]["uri"] = "s3://bucket/pairs.jsonl"
        spec["storage"] = {"uri": "s3://bucket/runs", "endpoint": "http://127.0.0.1:9"}

    ended = ser("validate", serrun(move))
    assert (ended.code, ended.out.count("failed StoreUnavailable"), ended.err.count("error:")) == (20, 3, 1)
    assert 0 < sum(waited) <= soon.deadline_seconds


def test_all_problems_are_reported_at_once(ser, serrun):
    def break_it(spec):
        spec["rewardModel"]["base"] = "file:///no/such/model"
        spec["data"]["source"]["uri"] = "file:///no/such/data.jsonl"

    file = serrun(break_it)
    ended = ser("validate", file)
    assert ended.code == 10
    written = file.read_text().splitlines()
    line_of = {name: next(n for n, line in enumerate(written, 1) if line.strip().startswith(name)) for name in ("base:", "uri:")}
    assert f"error: {file}:{line_of['base:']}: rewardModel.base: file:///no/such/model does not exist" in ended.err
    assert f":{line_of['uri:']}: data.source.uri: file:///no/such/data.jsonl does not exist" in ended.err
    assert "ready" not in ended.out


def test_a_model_that_cannot_score_is_refused(ser, serrun, small_model, tmp_path):
    other = tmp_path / "speech"
    other.mkdir()
    for path in small_model.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "whisper"}))
    ended = ser("validate", serrun(lambda spec: spec["rewardModel"].update(base=f"file://{other}")))
    assert ended.code == 10
    assert "is a whisper, which transformers cannot load as a sequence-classification model" in ended.err


def test_json_says_what_is_wrong_with_what(ser, serrun):
    ended = ser("validate", serrun(lambda spec: spec["data"]["source"].update(uri="file:///no/such/data.jsonl")), "-o", "json")
    shown = json.loads(ended.out)
    assert (ended.code, shown["ready"]) == (11, False)
    assert {check["name"]: check["error"] and check["error"]["reason"] for check in shown["checks"]} == {
        "spec": None,
        "store": None,
        "model": None,
        "data": "DataNotFound",
        "run": None,
    }


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_store_that_cannot_be_written_is_named_by_its_field(ser, serrun, tmp_path, command):
    (tmp_path / "file").write_text("")
    file = serrun(lambda spec: spec["storage"].update(uri=f"file://{tmp_path}/file"))
    ended = ser(command, file)
    assert ended.code == 20
    assert f"error: {file}:" in ended.err
    assert f": storage.uri: {tmp_path}/file/" in ended.err


@pytest.fixture
def on_cluster(api, tmp_path):
    """A SERRun for a cluster with one node."""
    spec = {
        "rewardModel": {"base": "hf://org/model"},
        "data": {"source": {"uri": "hf://org/data"}},
        "resources": {"retrain": {"gpus": 8, "memory": "64Gi"}},
        "storage": {"uri": "s3://bucket/runs"},
        "hub": None,
    }
    file = tmp_path / "serrun.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "hh"}, "spec": spec}))
    api.answers[f"{api.runs()}/hh"] = {}
    allocatable = {"cpu": "64", "memory": "256Gi", "nvidia.com/gpu": "8"}
    api.answers["/api/v1/nodes"] = {"items": [{"metadata": {"name": "gpu-1"}, "spec": {}, "status": {"allocatable": allocatable}}]}
    return file


def test_with_server_the_cluster_is_asked_and_nothing_is_kept(ser, api, on_cluster):
    ended = ser("validate", on_cluster, "--server")
    assert (ended.code, ended.err) == (0, "")
    assert "server ok     lab/hh would be taken (dry run, nothing was created)\n" in ended.out
    assert "retrain: 8 GPUs, 64Gi: fits gpu-1\n" in ended.out
    assert ended.out.endswith(f"ready: kubectl apply -f {on_cluster}\n")
    method, _, query, body = next(one for one in api.asked if one[1].endswith("/serruns/hh"))
    assert (method, query["dryRun"], query["fieldValidation"]) == ("PATCH", ["All"], ["Strict"])
    assert body["metadata"]["namespace"] == "lab"
    assert body["spec"]["hub"] is None, "the document goes there as it is written"


def test_the_command_to_go_on_with_is_quoted_for_a_shell(ser, api, on_cluster):
    spaced = on_cluster.rename(on_cluster.with_name("my run.yaml"))
    kubeconfig = api.kubeconfig.rename(api.kubeconfig.with_name("my config"))
    command = f"ready: kubectl apply --kubeconfig '{kubeconfig}' -f '{spaced}'\n"
    assert ser("validate", spaced, "--server", "--kubeconfig", kubeconfig).out.endswith(command)


def test_what_admission_refuses_is_told_in_its_words(ser, api, on_cluster):
    api.answers[f"{api.runs()}/hh"] = (422, {"message": 'SERRun.ser.dev "hh" is invalid: spec.storage.uri: file:// is for ser run'})
    ended = ser("validate", on_cluster, "--server")
    assert ended.code == 10
    assert 'error: the API server refuses it: SERRun.ser.dev "hh" is invalid: spec.storage.uri: file:// is for ser run\n' in ended.err
    assert "ready" not in ended.out


def test_resources_that_fit_no_node_are_a_warning(ser, api, on_cluster):
    api.answers["/api/v1/nodes"]["items"][0]["status"]["allocatable"]["nvidia.com/gpu"] = "4"
    ended = ser("validate", on_cluster, "--server")
    assert ended.code == 0
    assert ended.err == "warning: resources.retrain (8 GPUs, 64Gi) fits no node; nearest is gpu-1: 4 GPUs of 8\n"


def test_nodes_that_may_not_be_listed_are_a_warning(ser, api, on_cluster):
    api.answers["/api/v1/nodes"] = (403, {"message": "nodes is forbidden"})
    ended = ser("validate", on_cluster, "--server")
    assert (ended.code, ended.err) == (0, "warning: whether some node fits is not known: nodes is forbidden\n")


def test_the_namespace_of_the_file_counts_unless_another_is_given(ser, api, on_cluster):
    on_cluster.write_text(on_cluster.read_text().replace("name: hh", "name: hh\n  namespace: other"))
    api.answers[f"{api.runs('other')}/hh"] = {}
    assert "other/hh would be taken" in ser("validate", on_cluster, "--server").out
    assert "lab/hh would be taken" in ser("validate", on_cluster, "--server", "-n", "lab").out


def test_without_probe_only_the_spec_is_read(ser, on_cluster):
    assert ser("validate", on_cluster, "--no-probe").out.splitlines()[0].startswith("spec   ok")
    assert len(ser("validate", on_cluster, "--no-probe").out.splitlines()) == 2
    assert len(ser("validate", on_cluster, "--probe", "--no-probe").out.splitlines()) == 2, "the last counts"


@pytest.mark.parametrize(
    ("data", "loop", "named"),
    [
        ({}, {"rule": "paper", "search": True}, ["training.search"]),
        ({"devFraction": 0.4}, {"stopping": {"minGain": 0.01}}, ["data.devFraction", "loop.stopping.minGain"]),
        ({"devFraction": 0.4}, {"thresholds": {"targetPrecision": 0.8}}, []),
        ({"devFraction": 0.4}, {"rule": "paper", "folds": 3}, ["loop.folds"]),
        ({}, {"rule": "paper", "thresholds": {"targetPrecision": 0.9, "minSamples": 5}}, ["loop.thresholds.targetPrecision"]),
        ({}, {"thresholds": {"minSamples": 5}}, ["loop.thresholds.minSamples"]),
        ({}, {}, []),
    ],
)
def test_fields_that_the_rule_does_not_use_are_named(data, loop, named):
    training = {"search": {"epochs": [1]}} if loop.pop("search", False) else {}
    spec = {"rewardModel": {"base": "hf://a/b"}, "data": {"source": {"uri": "hf://a/c"}, **data}, "loop": loop, "training": training}
    told = list(unused(SERRunSpec.model_validate({**spec, "storage": {"uri": "s3://bucket/p"}})))
    assert [line.split()[0] for line in told] == named


def test_what_is_set_in_vain_is_one_warning(ser, serrun):
    told = ser("validate", serrun(lambda spec: spec.update(loop={"rule": "paper", "folds": 3}, training={"search": {"epochs": [1]}}))).err
    (warning,) = [line for line in told.splitlines() if "is not used" in line]
    assert warning.startswith("warning: loop.folds is not used: rule paper has none; training.search is not used: ")


def floor(spec, **folds):
    spec["loop"] = {"thresholds": {"targetPrecision": 0.9}, **folds}


def test_a_floor_that_selects_the_rule_of_an_earlier_version_is_told_with_a_remedy_that_works(ser, serrun):
    assert (
        "warning: loop.thresholds.targetPrecision without loop.folds selects the rule of version 0.1.0, "
        in ser("validate", serrun(floor)).err
    )
    remedied = serrun(lambda spec: floor(spec, folds=4))
    assert ("version 0.1.0" in ser("validate", remedied).err, read_serrun(remedied).spec.loop.fold_count) == (False, 4)


def test_a_new_run_is_told_as_by_ser_validate_what_its_spec_selects(ser, serrun, monkeypatch):
    monkeypatch.setattr("ser_core.cli.commands.changing.run.locked", Mock(side_effect=SERError("not carried out here")))
    ended = ser("run", serrun(floor))
    assert "not carried out here" in ended.err
    assert "selects the rule of version 0.1.0" in ended.out


def test_a_run_of_the_same_name_with_another_spec_is_told_as_ser_run_tells_it(ser, serrun):
    file = serrun()
    assert "run    ok     default/small is new\n" in ser("validate", file).out
    run = read_serrun(file)
    create_run(connect(run.spec.storage), run.model_copy(update={"metadata": run.metadata.model_copy(update={"uid": "u"})}))
    assert "run    ok     default/small was begun before (Pending)\n" in ser("validate", file).out
    ended = ser("validate", serrun(lambda spec: spec["data"].update(splitSeed=7)))
    assert (ended.code, "ready" in ended.out) == (10, False)
    assert "holds a run default/small (Pending) that was started with another spec:" in ended.err
    assert f"hint: to go on: write the old values back; to begin anew: ser purge {file}; to keep the old run: " in ended.err
    assert ended.err.endswith(ser("run", file).err)


def test_of_a_store_that_was_moved_the_hint_says_whereto_it_goes_back(ser, serrun, tmp_path):
    run = read_serrun(serrun())
    moved = serrun(lambda spec: spec["storage"].update(uri=f"file://{tmp_path}/moved"))
    create_run(connect(read_serrun(moved).spec.storage), run.model_copy(update={"metadata": run.metadata.model_copy(update={"uid": "u"})}))
    told = f"hint: to go on: move what was stored back to {run.spec.storage.uri}, and write the old values back; to begin anew: "
    assert told in ser("run", moved).err


def test_held_out_pairs_of_few_prompts_are_told(ser, serrun, tmp_path):
    file = serrun()
    rows = [{"prompt": f"question {n % 12}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(60)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = ser("validate", file).err
    assert re.search(
        r"warning: the \d+ held-out pairs are in \d groups? by prompt: .* of fewer than 10 they are not to be trusted", told
    ), told


def test_answers_that_are_the_same_once_they_are_cut_are_told(ser, serrun, tmp_path):
    file = serrun()
    rows = [{"prompt": f"question {n}", "chosen": "good " * 900 + "good", "rejected": "good " * 900 + "bad"} for n in range(60)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "of 60 of 60 pairs of a sample the two answers are the same once they are cut to " in ser("validate", file).err


def test_text_that_the_tokenizer_does_not_know_is_told(ser, serrun, tmp_path):
    file = serrun()
    rows = [{"prompt": f"ж ж ж {number}", "chosen": f"ъ ъ ъ {number}", "rejected": f"ю ю ю {number}"} for number in range(60)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = ser("validate", file)
    assert ended.code == 0, ended.err
    assert "% of the tokens of a sample are [UNK], text that the tokenizer of rewardModel.base does not know" in ended.err
    assert "of 60 of 60 pairs of a sample the two answers are the same tokens: the model cannot tell them apart" in ended.err
