"""`ser run` of the whole pipeline: evolve a reward model, fine-tune a policy, align it; killed in both, the same bits."""

import json
import signal

import pytest
import yaml
from integration.test_ser_run import STAGES, wait_for

POLICY_STAGES = {"iter-0000/sft", "iter-0000/ppo"}


@pytest.fixture(scope="module")
def make_aligned(make_run, qwen):
    """Makes a run with a policy."""

    def edit(spec):
        spec["policy"] = {
            "base": f"file://{qwen}",
            "sft": {"epochs": 6, "learningRate": 0.01, "answersPerStep": 8},
            "steps": 6,
            "rolloutsPerStep": 8,
            "promptTokens": 48,
            "answerTokens": 12,
            "learningRate": 1e-3,
            "criticLearningRate": 1e-3,
            "precision": "fp32",
        }
        spec["resources"] |= {kind: {"cpu": "1"} for kind in ("sft", "ppo")}

    return lambda folder: make_run(folder, edit)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory, make_aligned):
    run = make_aligned(tmp_path_factory.mktemp("aligned"))
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return run


def test_the_pipeline_ends_with_an_aligned_policy(aligned):
    manifests = aligned.manifests()
    assert set(manifests) == STAGES | POLICY_STAGES
    metrics = manifests["iter-0000/ppo"]["metrics"]
    assert metrics["steps"] == 6
    assert metrics["after"]["kl"] != 0
    assert manifests["iter-0000/sft"]["metrics"]["last_loss"] < manifests["iter-0000/sft"]["metrics"]["first_loss"]
    status = yaml.safe_load(aligned.ser("status", str(aligned.file), "-o", "json").stdout)["status"]
    assert status["policy"]["score"] == round(metrics["after"]["score"], 6)
    assert "policy: score on held-out prompts" in status["message"]


def test_everything_that_reads_a_run_shows_the_policy(aligned, tmp_path):
    assert "held-out prompts: score " in aligned.ser("evolution", str(aligned.file)).stdout
    report = tmp_path / "report.html"
    assert aligned.ser("report", str(aligned.file), "--output", str(report)).returncode == 0
    assert "<h3>KL from the reference policy</h3>" in report.read_text()
    exported = aligned.ser("export", str(aligned.file), str(tmp_path / "policy"), "--policy")
    assert exported.returncode == 0, exported.stderr
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in (tmp_path / "policy").iterdir()}
    sampling = json.loads((tmp_path / "policy" / "generation_config.json").read_text())
    assert [sampling[name] for name in ("do_sample", "temperature", "top_k", "top_p")] == [True, 0.7, 0, 1.0]


@pytest.mark.parametrize("where", ['"stage": "sft"', '"stage": "ppo"', '"event": "critic"'])
def test_a_killed_policy_stage_continues_to_the_same_result(aligned, make_aligned, tmp_path, where):
    run = make_aligned(tmp_path)
    process = run.start()
    wait_for(process, where)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    assert run.manifests() == aligned.manifests()
