"""Reward models in vLLM, by its CPU engine: `classify` and, of encoders, `score` give the scores of the run, not their sigmoid."""

import json
import subprocess
from pathlib import Path

import pytest
from peers import vllm_scores
from peers.exports import ANSWERS, DIALOGUE, PROMPTS, decoder, messages, reward_model, widened

PYTHON = Path(__file__).parents[2] / "benchmarks/.vllm/bin/python"
needs_vllm = pytest.mark.skipif(not PYTHON.exists(), reason="vLLM is not installed here: make peers installs it")
pytestmark = [pytest.mark.filterwarnings("ignore"), needs_vllm]


def vllm(export, rows):
    asked = json.dumps({"model": str(export.folder), "rows": rows})
    ended = subprocess.run([PYTHON, vllm_scores.__file__], input=asked, capture_output=True, text=True, timeout=800, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("template", "text", "prompts"),
    [("reference", None, PROMPTS), ("custom", "word: {prompt}\nfoo {answer}", PROMPTS), ("chat", None, (*PROMPTS[:2], DIALOGUE))],
)
def test_classify_gives_the_scores_of_the_run(tmp_path, template, text, prompts):
    export = decoder(tmp_path, "first", template, text, wide=True)
    rows = [messages(prompt, answer) for prompt, answer in zip(prompts, ANSWERS, strict=True)]
    assert vllm(export, rows) == pytest.approx(export.scores(prompts, ANSWERS), abs=1e-5)


def test_an_encoder_gives_them_for_text_pairs(bert, tmp_path):
    export = reward_model(widened(bert, tmp_path / "base"), tmp_path / "reward-model")
    assert vllm(export, list(zip(PROMPTS, ANSWERS, strict=True))) == pytest.approx(export.scores(PROMPTS, ANSWERS), abs=1e-5)
