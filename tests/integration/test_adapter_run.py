"""`ser run` with adapters and `storage.retain: best`: what is stored, what is removed, and that everything that reads the run does so."""

import json

import pytest

from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import score_rows
from ser_core.store.stages.manifest import Manifest

ADAPTER = {"rank": 4, "alpha": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory, make_run, qwen):
    """A run of one loop with adapters everywhere, and a policy that is fine-tuned and aligned."""

    def edit(spec):
        spec["rewardModel"] |= {"base": f"file://{qwen}", "adapter": dict(ADAPTER), "maxLength": 64}
        spec["storage"]["retain"] = "best"
        spec["training"]["epochs"] = 1
        spec["policy"] = {
            "base": f"file://{qwen}",
            "adapter": dict(ADAPTER),
            "sft": {"epochs": 1, "answersPerStep": 8},
            "steps": 2,
            "rolloutsPerStep": 8,
            "promptTokens": 48,
            "answerTokens": 12,
            "precision": "fp32",
        }
        spec["resources"] |= {kind: {"cpu": "1"} for kind in ("sft", "ppo")}

    made = make_run(tmp_path_factory.mktemp("adapters"), edit)
    ended = made.ser("run", str(made.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return made


def manifest(run, stage):
    (path,) = run.store.glob(f"default/tiny/*/{stage}/MANIFEST.json")
    return Manifest.model_validate_json(path.read_bytes())


def test_the_bases_weights_are_stored_once_for_each_base(run):
    weights = list(run.store.rglob("model.safetensors"))
    assert sorted(path.parent.name for path in weights) == ["model", "policy"]
    assert {path.parents[2].name for path in weights} == {"prepare"}
    base = manifest(run, "iter-0000/prepare").outputs["policy/model.safetensors"]
    assert manifest(run, "iter-0000/ppo").outputs["model/base/base/model.safetensors"] == base, "on what sft trained, on the base"


def test_after_ppo_the_best_reward_model_is_the_only_one(run):
    best = json.loads(run.ser("status", str(run.file), "-o", "json").stdout)["status"]["bestIteration"]
    stages = [stage for stage in run.manifests() if "retrain" in stage or "control" in stage]
    assert len(stages) > 1
    found = {stage: manifest(run, stage).outputs["model/adapter_model.safetensors"].key for stage in stages}
    assert [stage for stage, key in found.items() if (run.store / key).exists()] == [f"iter-{best:04d}/retrain"]
    assert run.manifests().keys() == {path.parent.relative_to(path.parents[2]).as_posix() for path in run.store.rglob("MANIFEST.json")}


def test_the_export_scores_as_the_run(run, tmp_path, pairs_file):
    exported = run.ser("export", str(run.file), str(tmp_path / "model"))
    assert exported.returncode == 0, exported.stderr
    assert not list((tmp_path / "model").glob("adapter*"))
    told = run.ser("score", str(pairs_file), "--run", str(run.file))
    assert told.returncode == 0, told.stderr
    model = load(tmp_path / "model", Precision("cpu"), max_length=64, frozen=True)
    pairs = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    rows = model.encoder.rows([pair["prompt"] for pair in pairs], [pair["chosen"] for pair in pairs])
    scores = [float(score) for score in score_rows(model, rows, 512)]
    assert [json.loads(line)["score_1"] for line in told.stdout.splitlines()] == pytest.approx(scores, abs=1e-6)


def test_the_policy_is_exported_and_the_run_reported(run, tmp_path):
    exported = run.ser("export", str(run.file), str(tmp_path / "policy"), "--policy")
    assert exported.returncode == 0, exported.stderr
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in (tmp_path / "policy").iterdir()}
    assert run.ser("report", str(run.file), "--output", str(tmp_path / "report.html")).returncode == 0
    assert run.ser("evolution", str(run.file)).returncode == 0
