"""What the command line says of a policy."""

import io
import json
import shutil
from datetime import UTC, datetime

import pytest
import yaml
from rich.console import Console

from ser_core.api.status import PolicyStatus
from ser_core.cli.views.evolution_view import evolution_view
from ser_core.cli.views.policy_line import policy_line
from ser_core.cli.views.status_view import status_view

ALIGNED = PolicyStatus(uri="s3://b/m", manifestSHA256="0" * 64, score=1.25, baseline_score=-0.5, kl=6.54, steps=30)


@pytest.fixture
def serrun(tmp_path, small_model, qwen):
    """Writes a SERRun with a policy; ``change`` replaces fields of it."""
    rows = [{"prompt": f"question {number}", "chosen": f"good {number}", "rejected": f"bad {number}"} for number in range(60)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write(**change):
        spec = {
            "rewardModel": {"base": f"file://{small_model}", "maxLength": 32},
            "data": {"source": {"uri": "file://./pairs.jsonl", "seedFraction": 0.3, "heldoutFraction": 0.2}},
            "policy": {"base": f"file://{qwen}", "promptTokens": 32, "answerTokens": 16, **change},
            "storage": {"uri": "file://./store"},
        }
        file = tmp_path / "serrun.yaml"
        file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "small"}, "spec": spec}))
        return file

    return write


def test_one_line_tells_what_ppo_reached_and_what_stopped_it():
    assert policy_line(ALIGNED) == "held-out prompts: score -0.500 → 1.250, KL 6.54 nats, 30 PPO steps"
    assert policy_line(ALIGNED.model_copy(update={"stopped": "PolicyTooFar"})).endswith(", stopped by PolicyTooFar")


def test_validate_looks_at_the_policy_and_its_prompts(ser, serrun, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two [/INST]"}\n')
    ended = ser("validate", serrun(prompts={"uri": "file://./prompts.jsonl"}))
    assert ended.code == 0, ended.err
    assert "qwen2, " in ended.out
    assert "prompts.jsonl: 2 prompts" in ended.out
    assert "policy.prompts: 1 prompt with special tokens" in ended.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"base": "file:///no/such/policy"}, "policy.base: file:///no/such/policy does not exist"),
        ({"answerTokens": 90}, "policy.promptTokens + policy.answerTokens = 122 is more than"),
        ({"generator": "vllm"}, "policy.generator: vllm is not installed"),
        ({"prompts": {"uri": "file:///no/such/prompts"}}, "policy.prompts.uri: file:///no/such/prompts does not exist"),
    ],
)
def test_validate_says_what_is_wrong_with_a_policy(ser, serrun, change, told):
    ended = ser("validate", serrun(**change))
    assert ended.code in (10, 11)
    assert told in ended.err


def test_a_policy_that_cannot_write_is_refused(ser, serrun, small_model, tmp_path):
    other = tmp_path / "encoder"
    shutil.copytree(small_model, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "deberta-v2"}))
    ended = ser("validate", serrun(base=f"file://{other}", promptTokens=8, answerTokens=8))
    assert ended.code == 10
    assert "is a deberta-v2, which transformers cannot load as a causal language model" in ended.err


def test_status_and_evolution_show_the_policy(stored_run):
    run = stored_run.run.model_copy(update={"status": stored_run.run.status.model_copy(update={"policy": ALIGNED})})
    for view in (status_view(run, datetime(2026, 2, 1, tzinfo=UTC)), evolution_view(run.status, None, 80)):
        console = Console(width=100, file=io.StringIO())
        console.print(view)
        assert policy_line(ALIGNED) in console.file.getvalue()
