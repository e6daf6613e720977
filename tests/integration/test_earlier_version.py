"""What version 0.1.0 has left in a store is read, reported and resumed.

tests/fixtures/make_store.py made the stores with the code of commit e3474c2, before its modules moved: one run, completed, and as it stood
when it was interrupted in the midst of `retrain`, `sft` and `ppo`. Manifests and checkpoints are unpacked as they were, since digests pin
them. Only run.json, which every change of the status rewrites, is told where the store lies now.

A stage that goes on must reach what it reached under the old code, within a tolerance: another processor or another torch differs in the
last digits. The stages after it are not compared: PPO samples, so over a whole run such digits grow. On the processor that made the stores
the whole run is the same bit by bit.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from integration.conftest import Run

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "store-0.1.0.tar.xz"
pytestmark = pytest.mark.timeout(900)
LEARNT = {"retrain": "training.parquet", "ppo": "ppo.parquet"}
"""A row for each optimizer step, those before the interruption included."""
TOLERANCE = 0.01
"""Kernels of another processor make differences up to 0.001, the loss of an optimizer's moments greater ones."""


@pytest.fixture
def left(tmp_path):
    """The run as it was left in a state."""

    def unpack(state):
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(tmp_path, [entry for entry in archive if entry.name.startswith(f"{state}/")], filter="data")
        run = Run(tmp_path / state / "serrun.yaml", tmp_path / state / "store")
        stored = run.store / "default" / "earlier" / "run.json"
        made_at = json.loads(stored.read_text())["spec"]["storage"]["uri"].removesuffix("/store")
        stored.write_text(stored.read_text().replace(made_at, f"file://{tmp_path}/{state}"))
        return run

    return unpack


def outputs(run, stage):
    """The outputs of a committed stage, by name."""
    (manifest,) = run.store.glob(f"default/earlier/*/{stage}/MANIFEST.json")
    parts = json.loads(manifest.read_text())["outputs"]
    return {name: run.store / part["key"] for name, part in parts.items()}


def numbers(table):
    """The columns of a table that hold numbers."""
    columns = pq.read_table(table).to_pydict()
    return {name: np.array(values, float) for name, values in columns.items() if all(isinstance(one, int | float) for one in values)}


def flat(value, place=""):
    """The leaves of nested dictionaries and lists by their place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {place: value}
    return {name: leaf for key, inner in items for name, leaf in flat(inner, f"{place}/{key}").items()}


def measured(run, stage):
    """All numbers that a stage told of its results."""
    return {name: value for name, value in flat(run.manifests()[stage]["metrics"]).items() if isinstance(value, int | float)}


def test_a_completed_run_is_read_and_reported(left, tmp_path):
    run = left("completed")
    policy = outputs(run, "iter-0000/ppo")
    told = json.loads(run.ser("status", str(run.file), "-o", "json").stdout)
    stored = json.loads((run.store / "default" / "earlier" / "run.json").read_text())
    assert flat(told["status"]).items() >= flat(stored["status"]).items()
    evolution = run.ser("evolution", str(run.file)).stdout
    assert all(text in evolution for text in ("seedOnly", "policy", "held-out"))
    page = tmp_path / "report.html"
    assert run.ser("report", str(run.file), "--output", str(page)).returncode == 0
    assert "<h3>KL from the reference policy</h3>" in page.read_text()
    assert run.ser("export", str(run.file), str(tmp_path / "policy"), "--policy").returncode == 0
    assert (tmp_path / "policy" / "model.safetensors").read_bytes() == policy["model/model.safetensors"].read_bytes()
    assert run.ser("run", str(run.file)).returncode == 0
    assert outputs(run, "iter-0000/ppo") == policy


def test_its_reward_model_scores(left, tmp_path):
    run = left("completed")
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "balan", "chosen": "komer good1 litis", "rejected": "komer bad1 litis"}\n')
    scored = json.loads(run.ser("score", str(tmp_path / "pairs.jsonl"), "--run", str(run.file)).stdout)
    assert scored["score_1"] > scored["score_2"]


@pytest.mark.parametrize("stage", LEARNT)
def test_an_interrupted_stage_goes_on_from_its_checkpoint_to_the_same_results(left, stage):
    run, undisturbed, place = left(stage), left("completed"), f"iter-0000/{stage}"
    (index,) = run.store.glob(f"default/earlier/*/{place}/checkpoints/INDEX.json")
    step = json.loads(index.read_text())["checkpoints"][0]["step"]

    ended = run.ser("run", str(run.file), "--json")

    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    started = next(event for event in events if event["event"] == "started")
    resumed = [(event["job"], event["step"]) for event in events if event["event"] == "resumed"]
    assert (started["stage"], resumed) == (stage, [(started["job"], step)])
    assert run.manifests().keys() == undisturbed.manifests().keys()
    known = measured(undisturbed, place)
    now = {name: value for name, value in measured(run, place).items() if name in known}  # later versions count more
    assert now == pytest.approx(known, rel=TOLERANCE, abs=TOLERANCE)
    again, before = (numbers(outputs(one, place)[LEARNT[stage]]) for one in (run, undisturbed))
    assert again.keys() == before.keys()
    assert all(again[name] == pytest.approx(before[name], rel=TOLERANCE, abs=TOLERANCE) for name in before)


def test_a_pickled_checkpoint_of_a_fine_tuning_is_set_aside_once_and_the_run_ends(left):
    run = left("sft")
    (index,) = run.store.glob("default/earlier/*/iter-0000/sft/checkpoints/INDEX.json")
    assert "optimizer.pt" in json.loads(index.read_text())["checkpoints"][0]["files"]

    ended = run.ser("run", str(run.file), "--json")

    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    told = [json.loads(line)["event"] for line in ended.stdout.splitlines()]
    assert (told.count("checkpoint-set-aside"), "resumed" in told) == (1, False)
    assert run.manifests().keys() == left("completed").manifests().keys()
