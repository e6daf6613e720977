"""Stages by the command and the variables of their pods, as the user of the image, who has no name: they compute and commit."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from chart.dockerfile import ROOT
from lanes import cannot_run
from unit.entry_points.unknown_user import ID, impossible, variables, words

from controlplane.kubelet.pod_environment import remap
from ser_core.api.serrun import SERRun
from ser_core.api.stage import RunIdentity, StageResult, StageSpec
from ser_core.api.status import StageKind
from ser_core.loop.observed import StartStage
from ser_operator.objects import container, mounted, render
from ser_operator.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def possible():
    """The machine of `.ci/run` has what these tests need."""
    if reason := impossible():
        cannot_run(reason)


@pytest.fixture
def folder():
    """The pod's volumes, and a store, all of the unknown user's own."""
    with tempfile.TemporaryDirectory() as made:
        for name in ("work", "tmp", "store"):
            (Path(made) / name).mkdir()
        give(Path(made))
        yield Path(made)


def give(folder):
    """Make a folder and all that is in it the unknown user's."""
    for place in (folder, *folder.rglob("*")):
        os.chown(place, ID, ID)


def stage(folder, run, kind, inputs):
    """Carry a stage out; its result."""
    identity = RunIdentity(namespace="lab", name=run.metadata.name, uid="5f2c")
    spec = StageSpec(run=identity, stage=kind, iteration=0, attempt=1, spec=run.spec, inputs=inputs, threads=1)
    job = render.job({"metadata": {}}, run, StartStage(spec, "any", None), "any", Settings(image="any"))
    (wanted,) = job["spec"]["template"]["spec"]["containers"]
    places = {mounted.WORK: folder / "work", mounted.SCRATCH: folder / "tmp", container.TERMINATION_LOG: folder / f"said-by-{kind}"}
    given = {one["name"]: remap(one.get("value", "127.0.0.1"), places) for one in wanted["env"]} | {"SER_PROGRESS_PORT": "0"}
    ended = subprocess.run(
        words(wanted["command"][1:], [folder]),
        env=variables(ROOT / "jobs" / "Dockerfile") | given,
        cwd=folder / "tmp",
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return StageResult.model_validate_json((folder / f"said-by-{kind}").read_text())


def test_a_reward_model_is_trained_by_an_unknown_user(folder, tiny_model, pairs_file):
    shutil.copytree(tiny_model, folder / "model")
    shutil.copy(pairs_file, folder / "pairs.jsonl")
    give(folder)
    spec = {
        "rewardModel": {"base": f"file://{folder}/model", "maxLength": 32, "precision": "fp32"},
        "data": {"source": {"uri": f"file://{folder}/pairs.jsonl", "seedFraction": 0.3, "heldoutFraction": 0.2}},
        "training": {"epochs": 1, "pairsPerStep": 8},
        "storage": {"uri": f"file://{folder}/store"},
    }
    run = SERRun.model_validate({"metadata": {"name": "hh", "namespace": "lab", "uid": "5f2c"}, "spec": spec})

    prepared = stage(folder, run, StageKind.PREPARE, {}).manifest
    trained = stage(folder, run, StageKind.RETRAIN, {"prepared": prepared})

    assert trained.manifest.stage is StageKind.RETRAIN
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (folder / "store").rglob("*")} == {(ID, ID)}
