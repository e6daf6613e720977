"""`ser sweep -n`: SERRuns with one label, created once, awaited, and never taken from others."""

import json

import pytest
import yaml

from ser_core.errors import SpecError

ARMS = ("--set", "training.seed=0..1", "-n", "lab")


@pytest.fixture
def file(tmp_path):
    spec = {"rewardModel": {"base": "hf://a/b"}, "data": {"source": {"uri": "hf://c/d"}}, "storage": {"uri": "s3://bucket/x"}}
    document = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "hh"}, "spec": spec}
    (tmp_path / "hh.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "hh.yaml"


@pytest.fixture
def cluster(api, monkeypatch):
    """A created run fails at once, so that no store is asked."""
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.CLUSTER_SECONDS", 0.01)

    def create(body):
        failed = {"phase": "Failed", "message": "no"}
        api.answers[f"{api.runs()}/{body['metadata']['name']}"] = {**body, "status": failed}
        return body

    api.created = create
    return api


def posted(api):
    return [body for method, _, _, body in api.asked if method == "POST"]


def test_runs_are_created_with_the_label_of_the_sweep_and_the_second_follows_the_first(ser, cluster, file):
    ended = ser("sweep", file, *ARMS, "-o", "json")
    assert ended.code == 1
    assert [body["metadata"]["name"] for body in posted(cluster)] == ["hh-seed0", "hh-seed1"]
    assert {body["metadata"]["labels"]["ser.dev/sweep"] for body in posted(cluster)} == {"hh"}
    assert [body["spec"].get("from") for body in posted(cluster)] == [None, {"run": "hh-seed0"}]
    assert "hh-seed0: Failed: no" in ended.err
    assert json.loads(ended.out)["missing"] == ["hh-seed0", "hh-seed1"]


def test_the_same_command_creates_nothing_again(ser, cluster, file):
    assert "hh-seed0: started (1 of 2)" in ser("sweep", file, *ARMS).err
    before = len(posted(cluster))
    assert "hh-seed0: had ended before (1 of 2)" in ser("sweep", file, *ARMS).err
    assert len(posted(cluster)) == before == 2


def test_runs_that_have_begun_are_not_shown_as_those_of_a_changed_file(ser, cluster, file):
    ser("sweep", file, *ARMS)
    file.write_text(file.read_text() + "  training: {epochs: 7}\n")
    ended = ser("sweep", file, *ARMS)
    assert (ended.code, "hh-seed0 has begun: spec.training.epochs was 2 and cannot become 7" in ended.err) == (10, True), ended.err
    assert "7" not in (file.parent / "hh-sweep" / "hh-seed0.yaml").read_text()


def test_runs_that_have_begun_with_fewer_loops_are_not_shown_either(ser, cluster, file):
    ser("sweep", file, *ARMS)
    file.write_text(file.read_text() + "  loop: {maxIterations: 9}\n")
    ended = ser("sweep", file, *ARMS)
    assert (ended.code, "hh-seed0 has begun with spec.loop.maxIterations 4" in ended.err) == (10, True), ended.err


def test_runs_that_admission_refuses_or_somebody_deletes_end_alone(ser, cluster, file, monkeypatch):
    def created(body):
        if body["metadata"]["name"] == "hh-seed0":
            return body
        failed = {**body, "status": {"phase": "Failed", "message": "no"}}
        return cluster.answers.setdefault(f"{cluster.runs()}/{body['metadata']['name']}", failed)

    cluster.created = created  # the first is gone again at once
    monkeypatch.setattr("ser_core.cli.access.cluster.Cluster.run_names", lambda _: [])
    ended = ser("sweep", file, *ARMS)
    assert "hh-seed0: namespace lab holds no run 'hh-seed0'" in ended.err and "hh-seed1: Failed: no" in ended.err
    monkeypatch.setattr("ser_core.cli.access.cluster.Cluster.create", refuse)
    ended = ser("sweep", file, "--set", "training.seed=1,5..6", "-n", "lab")
    assert ended.code == 1
    assert [line for line in ended.err.splitlines() if "not started" in line] == [
        "hh-seed5: not started: too many runs (2 of 3)",
        "hh-seed6: not started: too many runs (3 of 3)",
    ]


def refuse(*_):
    raise SpecError("too many runs", reason="RefusedByServer")


def test_a_run_that_has_begun_keeps_its_leader_among_other_arms(ser, cluster, file):
    ser("sweep", file, *ARMS)
    assert "hh-seed1: had ended before (2 of 2)" in ser("sweep", file, "--set", "training.seed=1,0", "-n", "lab").err
    assert "run: hh-seed0" in (file.parent / "hh-sweep" / "hh-seed1.yaml").read_text()


def test_a_sweep_outlives_a_cluster_that_does_not_answer(ser, cluster, file, monkeypatch):
    path, create, kept = f"{cluster.runs()}/hh-seed0", cluster.created, {}

    def created(body):
        made = create(body)
        if not kept:
            kept[path] = cluster.answers[path]
            cluster.answers[path] = (503, {"message": "etcd has no leader"})
        return made

    cluster.created = created
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.time.sleep", lambda _: cluster.answers.update(kept))
    ended = ser("sweep", file, *ARMS)
    assert "warning: the API server failed: etcd has no leader; looking again" in ended.err
    assert "hh-seed0: Failed: no" in ended.err and "hh-seed1: Failed: no" in ended.err


def test_what_a_run_waits_for_is_told_once_and_that_it_goes_on(ser, cluster, file, monkeypatch):
    """A sweep that waits with its runs is not silent."""
    path = f"{cluster.runs()}/hh-seed0"
    statuses = [
        *({"phase": "Waiting", "message": f"look {look}", "conditions": [waits("JobRefused")]} for look in range(3)),
        {"phase": "Running", "conditions": [waits("Running")]},
        {"phase": "Failed", "message": "no"},
    ]
    sleep = lambda _: path in cluster.answers and statuses and cluster.answers[path].update(status=statuses.pop(0))  # noqa: E731
    cluster.created = lambda body: cluster.answers.setdefault(f"{cluster.runs()}/{body['metadata']['name']}", {**body, "status": {}})
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.time.sleep", sleep)
    said = ser("sweep", file, "--set", "training.seed=0", "-n", "lab").err.splitlines()
    assert said[:4] == ["hh-seed0: started (1 of 1)", "hh-seed0: Waiting: look 0", "hh-seed0: goes on", "hh-seed0: Failed: no"]


def test_a_run_that_no_operator_takes_is_told(ser, cluster, file, monkeypatch):
    path = f"{cluster.runs()}/hh-seed0"
    cluster.created = lambda body: cluster.answers.setdefault(path, {**body, "status": {}})
    monkeypatch.setattr("ser_core.cli.access.sweeps.runs.UNSEEN_SECONDS", 0.0)
    end = {"phase": "Failed", "message": "no", "observedGeneration": 1}
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.time.sleep", lambda _: cluster.answers[path].update(status=end))
    said = ser("sweep", file, "--set", "training.seed=0", "-n", "lab").err
    assert "hh-seed0: no operator has looked at it yet: ser why hh-seed0 -n lab\n" in said


def waits(reason):
    return {"type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": "2026-01-31T12:00:00Z"}


def test_a_run_of_that_name_that_is_of_no_sweep_is_left_alone(ser, cluster, file):
    cluster.answers[f"{cluster.runs()}/hh-seed0"] = {"metadata": {"name": "hh-seed0"}, "spec": {}}
    ended = ser("sweep", file, *ARMS)
    assert ended.code == 10
    assert "holds a run 'hh-seed0' that is not of this sweep" in ended.err
    assert posted(cluster) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--set", "training.seed"), 2, "--set 'training.seed': no field and values"),
        (("--set", "training.sed=0..1"), 10, "with training.sed=0: spec.training.sed: is no field; did you mean seed?"),
        (("--set", "training.epochs=1,0"), 10, "with training.epochs=0: spec.training.epochs: 0: "),
        (("--set", "training.seed=0..1", "--against", "paper"), 2, "--against 'paper' is no arm of this sweep"),
        (("--set", "training.seed=0..1", "--parallel", "5000"), 2, "--parallel 5000: this machine has"),
    ],
)
def test_a_sweep_that_is_refused_leaves_nothing(ser, file, words, code, said):
    ended = ser("sweep", file, *words)
    assert (ended.code, said in ended.err) == (code, True), ended.err
    assert list(file.parent.iterdir()) == [file]
