"""`ser` and `kubectl ser` beside a real operator on a real cluster."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from documents import lines, replaced, shown
from e2e.conftest import NODE

from controlplane.cluster import Outcome
from controlplane.faults.scenario import SPEC, Scenario
from controlplane.kubelet.kubelet_logs import KubeletLogs
from controlplane.plane import build
from ser_core.api.stage import StageResult

BUCKET = "cli"
PLUGIN = Path(sys.executable).with_name("kubectl-ser")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def command(control_plane, s3):
    """Runs a command as a user of the cluster who can also read the store."""

    def run(*words, user="admin"):
        environment = {
            **s3.credentials,
            "PATH": f"{PLUGIN.parent}:{os.environ['PATH']}",
            "HOME": str(control_plane.folder),
            "KUBECONFIG": str(control_plane.kubeconfig(user)),
        }
        ended = subprocess.run([*map(str, words)], env=environment, capture_output=True, text=True, timeout=300)
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="module")
def ser(command):
    return lambda *words, **more: command(sys.executable, "-m", "ser_core.cli.app", *words, **more)


@pytest.fixture(scope="module")
def held(place, s3, tmp_path_factory):
    """A run whose first label stage has started and waits; its pods have logs."""
    folder = tmp_path_factory.mktemp("cli")
    s3.create_bucket(BUCKET)
    storage = {"uri": f"s3://{BUCKET}/runs", "endpoint": s3.endpoint}
    scenario = place.scenario(folder / "scenario")

    def speak(pod):
        pod.log.write_text(json.dumps({"time": "2026-01-31T12:00:00.000", "event": "spoke", "pod": pod.name}) + "\n")

    for stage in ("prepare", "retrain"):
        place.instead[scenario.namespace, stage] = speak
    with KubeletLogs(place.kubelet, place.plane.api(), NODE, folder), scenario, scenario.hold("label") as gate:
        scenario.operator.start()
        scenario.apply(storage=storage)
        gate.wait_for_pod(60)
        scenario.wait(lambda status: status.get("stage") == "label" and "waits" not in status.get("message", ""))
        yield scenario


def wait_for(read, until, seconds=240):
    """Read until it holds."""
    deadline = time.monotonic() + seconds
    while not until(found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_status_says_where_the_run_is(ser, held: Scenario):
    shown = ser("status", held.namespace, "-n", held.namespace)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(
        f"SERRun {held.namespace}/{held.namespace}\nphase         Running\nmessage       label of loop 1, attempt 1\n"
    )
    assert "\nstage         label of loop 1, attempt 1, since " in shown.out


def test_kubectl_finds_it_as_a_plugin(command, held: Scenario):
    shown = command(*build.command("kubectl"), "ser", "status", held.namespace, "-n", held.namespace, "-o", "json")
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out)["status"]["stage"] == "label"
    assert command(*build.command("kubectl"), "ser", "--help").out.startswith("Usage: kubectl ser ")


def test_verbose_status_shows_pods_and_events(ser, held: Scenario):
    shown = ser("status", held.namespace, "-n", held.namespace, "-v").out
    assert f"   Running     {NODE}" in shown
    assert "StageStarted: label of loop 1, attempt 1" in shown


def test_why_a_run_that_works_is_fine(ser, held: Scenario):
    shown = ser("why", held.namespace, "-n", held.namespace)
    assert shown.out.startswith("cause     nothing is wrong: a stage is running\nevidence  label of loop 1, attempt 1, since ")


def test_logs_are_those_of_the_pods_and_once_they_are_gone_those_of_the_store(ser, held: Scenario, s3):
    read = lambda: ser("logs", held.namespace, "-n", held.namespace, "-i", "0")  # noqa: E731
    from_pods = read()
    assert [line.split()[:3:2] for line in from_pods.out.splitlines()] == [["prepare-0", "spoke"], ["retrain-0", "spoke"]]

    job = next(row["job"] for row in held.status()["stages"] if row["stage"] == "prepare")
    held.delete_job(job)
    key = f"runs/{held.namespace}/{held.namespace}/{held.run()['metadata']['uid']}/iter-0000/prepare/attempt-1-0123abcd/log.jsonl"
    line = {"time": "2026-01-31T12:00:00.000", "event": "stored"}
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=json.dumps(line).encode())
    wait_for(lambda: held.pods(job), lambda pods: not pods)

    from_both = read()
    assert [line.split()[:3:2] for line in from_both.out.splitlines()] == [["prepare-0", "stored"], ["retrain-0", "spoke"]]


def test_the_documented_rights_are_enough_and_all_are_used(ser, held: Scenario, control_plane, tmp_path):
    namespace, user = held.namespace, f"{held.namespace}/somebody"
    role = yaml.safe_load(shown("docs/cli.md", "Rights", "yaml").text)
    control_plane.kubectl("create", "serviceaccount", "somebody", "-n", namespace)
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(role))
    control_plane.kubectl("create", "rolebinding", "somebody", "-n", namespace, "--role=ser-user", f"--serviceaccount={namespace}:somebody")
    file = tmp_path / "serrun.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "new"}, "spec": {**SPEC}}))
    for words in (("status", "-v"), ("why",), ("evolution",), ("logs", "-i", "0"), ("resume",)):
        done = ser(words[0], held.namespace, *words[1:], "-n", namespace, user=user)
        assert (done.code, "forbidden" in done.err) == (0, False), done.err
    assert "runs there: " in ser("status", "absent", "-n", namespace, user=user).err
    ended = ser("validate", file, "--server", "-n", namespace, user=user)
    assert (ended.code, "whether some node fits is not known" in ended.err) == (0, True)
    assert ser("suspend", held.namespace, "-n", namespace, user=user).code == 0
    assert ser("resume", held.namespace, "-n", namespace, user=user).code == 0
    time.sleep(0.5)  # the audit log is written in batches

    granted = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    used = set()
    for event in control_plane.audit_events():
        if event["user"]["username"] == f"system:serviceaccount:{namespace}:somebody" and event["objectRef"]["resource"] != "nodes":
            used.add(("/".join(filter(None, (event["objectRef"]["resource"], event["objectRef"].get("subresource")))), event["verb"]))
    assert granted - used <= {("serruns", "create")}  # asked for inside a patch of what does not exist yet
    assert used - granted == set()


def test_suspend_and_resume(ser, held: Scenario):
    assert ser("suspend", held.namespace, "-n", held.namespace).out == f"serrun.ser.dev/{held.namespace} suspended\n"
    held.wait(lambda status: status["phase"] == "Suspended")
    why = ser("why", held.namespace, "-n", held.namespace).out.splitlines()
    assert why[0] == "cause     somebody suspended the run"
    assert why[2].endswith(f": ser resume {held.namespace} -n {held.namespace}")

    assert ser("resume", held.namespace, "-n", held.namespace).out == f"serrun.ser.dev/{held.namespace} resumed\n"
    held.wait(lambda status: status["phase"] == "Running")


def test_a_failed_run_goes_on_by_the_command_of_the_runbook(command, place, tmp_path):
    scenario = place.scenario(tmp_path)
    invalid = StageResult(outcome="failed", reason="DataNotFound", message="no such file")
    place.instead[scenario.namespace, "prepare"] = lambda _pod: Outcome(11, invalid.model_dump_json(by_alias=True))
    with scenario:
        scenario.operator.start()
        scenario.apply()
        assert scenario.wait_for_end()["phase"] == "Failed"
        del place.instead[scenario.namespace, "prepare"]
        names = {"hh": scenario.namespace, "lab": scenario.namespace}
        (retry,) = lines(replaced(shown("docs/runbooks.md", "SERRunFailed", "bash", 1).text, names))
        assert command(*retry).out == f"serrun.ser.dev/{scenario.namespace} reopened\n"
        status = scenario.wait(lambda status: status["phase"] == "Completed")
    assert status["reopened"] == 1


def test_why_names_the_resource_that_no_node_has(ser, place, tmp_path):
    scenario = place.scenario(tmp_path)
    with scenario:
        scenario.operator.start()
        scenario.apply(resources={"prepare": {"cpu": "1000"}})
        told = wait_for(lambda: ser("why", scenario.namespace, "-n", scenario.namespace).out, lambda out: "no node can take" in out)
    assert "Unschedulable: prepare, attempt 1 waits: 0/1 nodes are available: 1 Insufficient cpu." in told
    assert told.splitlines()[2].endswith("asks for: the waiting Job is then made anew")


def test_why_says_that_no_operator_looks(ser, place, tmp_path):
    scenario = place.scenario(tmp_path)
    scenario.apply()
    told = ser("why", scenario.namespace, "-n", scenario.namespace).out
    assert told.startswith("cause     no operator has looked at the run yet\n")


def test_validate_asks_the_api_server_and_the_nodes(ser, crd, namespace, tmp_path):
    file = tmp_path / "serrun.yaml"

    def validate(**spec):
        document = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "hh"}, "spec": {**SPEC, "hub": None, **spec}}
        file.write_text(yaml.safe_dump(document))
        return ser("validate", file, "--server", "-n", namespace)

    good = validate(resources={"retrain": {"gpus": 8}})
    assert (good.code, good.err) == (0, "")
    assert f"{namespace}/hh would be taken" in good.out
    assert f"retrain: 8 GPUs: fits {NODE}" in good.out
    assert ser("status", "hh", "-n", namespace).code == 10, "nothing was created"

    assert f"nearest is {NODE}: 8 GPUs of 9" in validate(resources={"retrain": {"gpus": 9}}).err
    refused = validate(storage={"uri": "file:///runs"})
    assert refused.code == 10
    assert "error: the API server refuses it: " in refused.err
    assert "spec.storage.uri" in refused.err


def test_validate_of_a_change_names_what_may_not_change(ser, held: Scenario, tmp_path):
    file = tmp_path / "serrun.yaml"
    spec = {**SPEC, "rewardModel": {"base": "hf://org/other"}}
    file.write_text(
        yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": held.namespace}, "spec": spec})
    )
    refused = ser("validate", file, "--server", "-n", held.namespace)
    assert refused.code == 10
    assert "rewardModel" in refused.err
