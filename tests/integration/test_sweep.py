"""`ser sweep`: several variants of one SERRun on this machine, interrupted and continued."""

import json
import signal
import subprocess
import sys

import pytest
from integration.test_taking_over import manifests

pytestmark = pytest.mark.timeout(900)
ARMS = ("--set", "loop.rule=calibrated,paper", "--set", "training.seed=0..1")
NAMES = ["tiny-calibrated-seed0", "tiny-calibrated-seed1", "tiny-paper-seed0", "tiny-paper-seed1"]
SEED_MODEL, PREPARE = "iter-0000/retrain", "iter-0000/prepare"


def shorter(spec):
    """One loop, no controls."""
    spec["loop"]["controls"] = []
    spec["training"]["epochs"] = 1


@pytest.fixture(scope="module")
def swept(tmp_path_factory, make_run):
    """A sweep that was stopped once, at its first run's training, and begun again."""
    run = make_run(tmp_path_factory.mktemp("sweep"), shorter)
    command = [sys.executable, "-m", "ser_core.cli.app", "sweep", str(run.file), *ARMS, "--parallel", "2"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in first.stderr:
        if f"{NAMES[0]}: started" in line:
            break
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=300)
    assert first.returncode == 143
    ended = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, timeout=800)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return run, json.loads(ended.stdout)


def test_every_variant_is_a_run_and_the_table_compares_the_arms(swept):
    run, table = swept
    assert [(arm["arm"], arm["runs"]) for arm in table["arms"]] == [("loop.rule=calibrated", 2), ("loop.rule=paper", 2)]
    assert (table["missing"], table["arms"][0]["difference"], table["arms"][1]["difference"]["repetitions"]) == ([], None, 2)
    learnt = [any("iter-0001/retrain" in manifests(run, name) for name in NAMES if rule in name) for rule in ("calibrated", "paper")]
    assert [arm["trusted"] for arm in table["arms"]] == learnt
    folder = run.file.with_name("serrun-sweep")
    assert sorted(path.stem for path in folder.glob("*.yaml")) == NAMES


def test_the_split_is_made_once_and_a_seed_model_once_for_each_seed(swept):
    run, _ = swept
    taken = {name: {place: one.take_over and one.take_over.manifest for place, one in manifests(run, name).items()} for name in NAMES}
    assert taken[NAMES[0]][PREPARE] is None
    assert all(taken[name][PREPARE] for name in NAMES[1:])
    assert not any(taken[name][SEED_MODEL] for name in NAMES), "calibrated cross-fits the seed model, paper does not"


def test_the_same_command_shows_the_table_at_once_when_all_have_ended(swept):
    run, table = swept
    again = run.ser("sweep", str(run.file), *ARMS, "--against", "loop.rule=paper")
    assert again.returncode == 0, again.stderr
    assert f"{NAMES[0]}: had ended before (1 of 4)" in again.stderr
    assert "loop.rule=calibrated" in again.stdout and "baseline: loop.rule=paper" in " ".join(again.stdout.split())
    assert (run.file.with_name("serrun-sweep") / "sweep.html").read_text().startswith("<!doctype html>")
    difference = table["arms"][1]["difference"]["mean"]
    assert f"{-difference:+.3f}" in again.stdout or difference == 0


def test_a_run_that_fails_is_named_with_its_log_and_the_others_go_on(make_run, tmp_path):
    run = make_run(tmp_path, shorter)
    ended = run.ser("sweep", str(run.file), "--set", "rewardModel.maxLength=32,100000")
    assert ended.returncode == 10
    assert "tiny-maxlength100000: exit code 10, see " in ended.stderr
    assert "missing: tiny-maxlength100000" in ended.stdout
