"""Every command of docs/cli.md is called here, and what it says is what stands there (UPDATE_GOLDEN=1 writes both anew)."""

import itertools
import os
import re
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from botocore.exceptions import EndpointConnectionError
from unit.cli.views.test_terminal_output import printed
from unit.conftest import planned

from ser_core.api.spec.loop import Rule
from ser_core.api.spec.resources import ResourcesSpec, StageResources
from ser_core.api.spec.storage import StorageSpec
from ser_core.api.stage import RunIdentity, StageResult
from ser_core.api.status import SERRunStatus, StageKind, StoredBytes
from ser_core.cli.access.comparison import compare_runs
from ser_core.cli.access.stored_run import StoredRun
from ser_core.cli.access.sweeps.runs import Ended, LocalRuns
from ser_core.cli.app import app
from ser_core.cli.views.diff_view import diff_view
from ser_core.errors import StoreError
from ser_core.loop.observed import Waiting
from ser_core.store.objects.retry import Retry, Transient
from ser_core.store.stages.manifest import stage_prefix
from ser_core.sweep.results import RunResult

MANUAL = Path("docs/cli.md")
GOLDEN = Path("tests/golden/cli")
NOW = datetime(2026, 1, 31, 12, 25, tzinfo=UTC)
BLOCK = re.compile(r"<!-- tests/golden/cli/(\w+)\.txt -->\n```console\n\$ (.*)\n([^`]*)```\n")
SCHEDULER = "0/12 nodes are available: 4 Insufficient nvidia.com/gpu, 8 node(s) had untolerated taint {pool: cpu}."


class Noon(datetime):
    """It is 12:25."""

    @classmethod
    def now(cls, tz=None):
        return NOW


@pytest.fixture
def said(ser, golden, monkeypatch, stored_run):
    """Calls a command as a user does who is in the folder of the run, and compares what it says with the golden file."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("ser_core.cli.commands.reading.status.datetime", Noon)
    monkeypatch.setattr("ser_core.cli.commands.reading.why.datetime", Noon)

    def call(name, command, folder=stored_run.folder, code=0):
        golden_file = Path.cwd() / GOLDEN / f"{name}.txt"
        with monkeypatch.context() as inside:
            inside.chdir(folder)
            inside.setattr(sys, "stderr", sys.stdout)  # as a terminal shows both
            program, *words = shlex.split(command)
            ended = ser(*(words[1:] if program == "kubectl" else words), program="kubectl-ser" if program == "kubectl" else program)
        assert ended.code == code, ended.out
        text = ended.out.replace(str(folder), "/home/me/small")
        golden_file.parent.mkdir(exist_ok=True)
        golden(f"cli/{name}.txt", text)
        shown = documented()[name]
        assert (shown[0], shown[1]) == (command, golden_file.read_text()), f"docs/cli.md differs; UPDATE_GOLDEN=1 writes it anew: {name}"

    return call


def documented():
    """Command and output by name. With UPDATE_GOLDEN=1 the outputs are written anew from the golden files before."""
    text = MANUAL.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_GOLDEN"):

        def renewed(match):
            file = GOLDEN / f"{match[1]}.txt"
            output = file.read_text(encoding="utf-8") if file.exists() else match[3]
            return f"<!-- tests/golden/cli/{match[1]}.txt -->\n```console\n$ {match[2]}\n{output}```\n"

        text = BLOCK.sub(renewed, text)
        MANUAL.write_text(text, encoding="utf-8")
    return {name: (command, output) for name, command, output in BLOCK.findall(text)}


@pytest.fixture
def hh(api, stored_run):
    """The stored run as hh in namespace lab, whose stage waits for a GPU after its first attempt failed."""
    run = named(stored_run.run, "hh", SERRunStatus())
    run = run.model_copy(update={"spec": run.spec.model_copy(update={"resources": ResourcesSpec(retrain=StageResources(gpus=8))})})
    before = {(2, StageKind.RETRAIN), (0, StageKind.CONTROL_FULL)}
    results = {key: in_bucket(result, run) for key, result in stored_run.results.items() if key not in before}
    silent = no_answer(f"reading {run.spec.storage.uri}/{stage_prefix(RunIdentity.of(run.metadata), 2, StageKind.FILTER)}/MANIFEST.json")
    run = planned(run, results, {(2, StageKind.RETRAIN, 1): silent}, Waiting("Unschedulable", SCHEDULER))
    stored = StoredBytes(base_models=1_203_000_000, reward_models=161_000_000, fold_models=322_000_000, records=4_000_000)
    return api.put_run(run.model_copy(update={"status": run.status.model_copy(update={"stored": stored, "observed_generation": 1})}))


def in_bucket(result, run):
    """``result`` of a stage that has committed to the store of ``run``."""
    committed = result.manifest
    prefix = stage_prefix(RunIdentity.of(run.metadata), committed.iteration, committed.stage)
    uri = f"{run.spec.storage.uri}/{prefix}/MANIFEST.json"
    return result.model_copy(update={"manifest": committed.model_copy(update={"uri": uri})})


def no_answer(what):
    """What a stage says whose store does not answer as long as its patience lasts."""
    seconds = itertools.count(step=12)
    retry = Retry(clock=lambda: next(seconds), sleep=lambda _: None, uniform=lambda _, high: high)

    def refused():
        raise Transient(str(EndpointConnectionError(endpoint_url="https://s3.example/bucket")))

    with pytest.raises(StoreError) as told:
        retry.call(refused, what)
    error = told.value
    return {
        "exit_code": error.exit_code,
        "result": StageResult(outcome="failed", reason=error.reason, message=error.message, hint=error.hint),
    }


def named(run, name, status=None):
    """A run under another name, in a bucket."""
    storage = StorageSpec(uri="s3://bucket/runs")
    base = run.spec.reward_model.model_copy(update={"base": "hf://Qwen/Qwen3-0.6B"})
    data = run.spec.data.model_copy(update={"source": run.spec.data.source.model_copy(update={"uri": "hf://Anthropic/hh-rlhf"})})
    spec = run.spec.model_copy(update={"storage": storage, "reward_model": base, "data": data})
    metadata = run.metadata.model_copy(update={"name": name, "namespace": "lab"})
    return run.model_copy(update={"metadata": metadata, "spec": spec, "status": status or run.status})


def test_status(said, hh):
    said("status", "kubectl ser status hh -n lab")


def test_verbose_status(said, api, hh):
    pod = {
        "metadata": {"name": "hh-retrain-2-a2-x7k2p", "creationTimestamp": "2026-01-31T12:19:00Z"},
        "spec": {},
        "status": {"phase": "Pending"},
    }
    api.answers["/api/v1/namespaces/lab/pods"]["items"].append(pod)
    happened = {
        "12:15": ("Normal", "StageStarted", "retrain of loop 2, attempt 1"),
        "12:18": ("Warning", "StoreUnavailable", "retrain of loop 2, attempt 1"),
    }
    for moment, (kind, reason, message) in happened.items():
        event = {"type": kind, "reason": reason, "message": message, "lastTimestamp": f"2026-01-31T{moment}:00Z"}
        api.answers["/api/v1/namespaces/lab/events"]["items"].append(event)
    said("status_verbose", "kubectl ser status hh -n lab -v")


def test_status_here(said):
    said("status_here", "ser status serrun.yaml")


def test_why(said, hh):
    said("why", "kubectl ser why hh -n lab")


def test_why_here(said):
    said("why_here", "ser why serrun.yaml")


def test_evolution(said):
    said("evolution", "ser evolution serrun.yaml")


def test_logs(said, api, hh):
    labels = {"ser.dev/iteration": "2", "ser.dev/stage": "retrain", "ser.dev/attempt": "2"}
    pod = {"metadata": {"name": "pod", "labels": labels, "creationTimestamp": "2026-01-31T12:19:00Z"}, "spec": {}, "status": {}}
    api.answers["/api/v1/namespaces/lab/pods"]["items"].append(pod)
    lines = (
        '"event": "started", "stage": "retrain"',
        '"event": "progress", "step": 1, "total": 9',
        '"event": "trained", "steps": 60, "loss": 0.31',
    )
    api.answers["/api/v1/namespaces/lab/pods/pod/log"] = "".join(
        f'{{"time": "2026-01-31T12:19:0{n}.000+00:00", {line}}}\n' for n, line in enumerate(lines)
    )
    body = api.answers[f"{api.runs()}/hh"]
    body["spec"]["storage"] = {"uri": "file:///no/store/here"}
    said("logs", "kubectl ser logs hh -n lab -i 2 -s retrain")


def test_logs_here(said):
    said("logs_here", "ser logs serrun.yaml -i 1")


def test_suspend_and_resume(said, api, hh):
    said("suspend", "kubectl ser suspend hh -n lab")
    api.answers[f"{api.runs()}/hh"]["spec"]["suspend"] = True
    said("resume", "kubectl ser resume hh -n lab")


def test_sweep(said, monkeypatch):
    """Six runs that end at once, with results made by dice."""

    class AtOnce(LocalRuns):
        def start(self, number, name, file, document):
            self._live[number] = name
            return "started"

        def ended(self):
            over, self._live = list(self._live), {}
            return [Ended(number, "Completed", 0) for number in over]

    def diced(stored_file, place):
        return Path(stored_file).stem

    def result(name, arm):
        seed, share = int(re.search(r"seed(\d)", name)[1]), 0.78 if "calibrated" in arm else 0.70
        right = np.random.default_rng([seed, "calibrated" in arm]).random(200) < share
        before = right & (np.random.default_rng([seed, 2]).random(200) < 0.92)
        pairs, seeds = ({f"pair {number}": bool(one) for number, one in enumerate(each)} for each in (right, before))
        groups = {pair: f"group {number // 2}" for number, pair in enumerate(pairs)}
        return RunResult(name, arm, (0, seed), pairs, 0.5, groups, seed_right=seeds)

    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.LocalRuns", AtOnce)
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.open_run", diced)
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.read_result", result)
    said("sweep", "ser sweep serrun.yaml --set training.seed=0..2 --set loop.rule=paper,calibrated")


def test_suspend_here(said):
    said("suspend_here", "ser suspend serrun.yaml", code=10)


def test_retry(said, api, hh):
    api.answers[f"{api.runs()}/hh"]["status"]["phase"] = "Failed"
    said("retry", "kubectl ser retry hh -n lab")


def test_retry_here(said):
    said("retry_here", "ser retry serrun.yaml", code=10)


def test_validate(said, api, tmp_path):
    spec = {
        "rewardModel": {"base": "hf://Qwen/Qwen3-0.6B"},
        "data": {"source": {"uri": "hf://Anthropic/hh-rlhf"}},
        "resources": {"retrain": {"gpus": 8, "memory": "64Gi"}},
        "storage": {"uri": "s3://bucket/runs"},
    }
    (tmp_path / "hh.yaml").write_text(
        yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "hh"}, "spec": spec})
    )
    api.answers[f"{api.runs()}/hh"] = {}
    allocatable = {"cpu": "64", "memory": "256Gi", "nvidia.com/gpu": "4"}
    api.answers["/api/v1/nodes"] = {"items": [{"metadata": {"name": "gpu-1"}, "spec": {}, "status": {"allocatable": allocatable}}]}
    said("validate", "kubectl ser validate hh.yaml --server -n lab", tmp_path)


def test_validate_here(said, tmp_path):
    (tmp_path / "serrun.yaml").write_text(
        "apiVersion: ser.dev/v1alpha1\nkind: SERRun\nmetadata: {name: My_Run}\nspec:\n"
        "  rewardModel: {base: hf://Qwen/Qwen3-0.6B}\n  data: {source: {uri: hf://Anthropic/hh-rlhf}}\n"
        "  loop: {maxIteration: 3}\n  storage: {uri: file://./runs}\n"
    )
    said("validate_here", "ser validate serrun.yaml", tmp_path, code=10)


def test_diff(golden, stored_run):
    """Two runs in one bucket; their results are those of one store."""
    spec = stored_run.run.spec
    a, b = named(stored_run.run, "hh"), named(stored_run.run, "hh-paper")
    loop = spec.loop.model_copy(update={"rule": Rule.PAPER, "max_iterations": 1})
    status = b.status.model_copy(update={"iterations": b.status.iterations[:2], "best_iteration": 1, "reward_model": None})
    b = b.model_copy(update={"spec": b.spec.model_copy(update={"loop": loop}), "status": status})
    in_store = {"name": "small", "namespace": "default"}  # where the results of both are
    metadata = a.metadata.model_copy(update=in_store)
    compared = compare_runs(*(StoredRun(run.model_copy(update={"metadata": metadata}), spec.storage, "") for run in (a, b)))
    golden("cli/diff.txt", printed(diff_view(replace(compared, a=a, b=b)), 80))
    assert documented()["diff"] == ("kubectl ser diff hh hh-paper -n lab", (GOLDEN / "diff.txt").read_text())


def test_another_spec(said, stored_run):
    other = stored_run.folder / "other.yaml"
    document = yaml.safe_load(stored_run.file.read_text())
    document["spec"]["training"] = {"seed": 5}
    other.write_text(yaml.safe_dump(document))
    said("run", "ser run other.yaml", code=10)


def test_report(said, writable_run):
    said("report", "ser report serrun.yaml", writable_run.folder)


def test_export(said, writable_run):
    said("export", "ser export serrun.yaml reward-model", writable_run.folder)


def test_purge(said, writable_run):
    said("purge", "ser purge serrun.yaml --yes", writable_run.folder)


def test_score(said):
    said("score", "ser score --help")


def test_no_such_run(said, hh):
    said("absent", "kubectl ser status hh2 -n lab", code=10)


def test_every_command_has_an_example():
    commands = set(typer.main.get_command(app).commands)
    shown = {re.sub("^(kubectl )?ser ", "", command).split()[0] for command, _ in documented().values()}
    assert shown == commands


def test_the_table_of_commands_has_them_all():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| x? ?\|", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted(typer.main.get_command(app).commands)


def test_suggest(said):
    said("suggest", "ser suggest --help")
