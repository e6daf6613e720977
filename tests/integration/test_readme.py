"""README's own SERRun and commands, from the first to the last, on a tiny model."""

import shutil
import sys
from pathlib import Path

import pytest
from documents import program_folder, replaced, run, shown


@pytest.fixture
def folder(tmp_path, tiny_model, pairs_file):
    """Where somebody is who has done as README says. The model is smaller, and there is one loop instead of four."""
    smaller = {
        "hf://Qwen/Qwen3-0.6B, maxLength: 1024": f"'file://{tiny_model}', maxLength: 32",
        "seedFraction: 0.15": "seedFraction: 0.3",
        "maxIterations: 4": "maxIterations: 1",
    }
    spec = replaced(shown("README.md", "On this machine", "yaml").text, smaller)
    (tmp_path / "serrun.yaml").write_text(f"{spec}  training: {{epochs: 3, learningRate: 0.01, pairsPerStep: 8, tokensPerBatch: 512}}\n")
    shutil.copy(pairs_file, tmp_path / "pairs.jsonl")
    return tmp_path


def test_the_commands_end_with_a_page_and_a_model(folder):
    programs = program_folder(folder / "bin", {"ser": [sys.executable, "-m", "ser_core.cli.app"]})
    commands = replaced(shown("README.md", "On this machine", "bash", 1).text, {".venv/bin/ser": "ser"})

    said = run(commands, folder, programs, {}, timeout=800)

    assert "longer answer wins" in said
    assert "<svg" in (folder / "mine-report.html").read_text()
    assert {"README.md", "config.json", "model.safetensors"} <= {path.name for path in Path(folder / "reward-model").iterdir()}
