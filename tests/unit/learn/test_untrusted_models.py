"""Whatever a model's or a checkpoint's folder holds, nothing in it is executed."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from ser_core.errors import SpecError
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.policy.supervised import FineTuningState
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.training import TrainingState

KINDS = {"reward model": lambda folder, fp32: load(folder, fp32, max_length=64), "policy": load_policy}


class Canary:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return (Path.touch, (self._path,))


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "executed"
    yield Canary(path)
    assert not path.exists()


def copy_of(model, tmp_path):
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_weights_are_refused_unread(kind, qwen, fp32, tmp_path, canary):
    folder = copy_of(qwen, tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(canary))
    with pytest.raises(SpecError, match=r"cannot load|safetensors"):
        KINDS[kind](folder, fp32)


@pytest.mark.parametrize("kind", KINDS)
def test_code_that_comes_with_a_model_is_not_imported(kind, qwen, fp32, tmp_path, canary):
    folder = copy_of(qwen, tmp_path)
    (folder / "modeling_own.py").write_text(f"import pathlib; pathlib.Path({str(canary._path)!r}).touch()\n")
    settings = json.loads((folder / "config.json").read_text())
    own = {
        "AutoConfig": "modeling_own.Own",
        "AutoModelForCausalLM": "modeling_own.Own",
        "AutoModelForSequenceClassification": "modeling_own.Own",
    }
    (folder / "config.json").write_text(json.dumps({**settings, "model_type": "own", "auto_map": own}))
    with pytest.raises(SpecError):
        KINDS[kind](folder, fp32)


@pytest.mark.parametrize("state", [TrainingState, FineTuningState])
def test_a_pickled_checkpoint_is_no_checkpoint(tmp_path, canary, state):
    for name in ("history.json", "losses.json"):
        (tmp_path / name).write_text("[]")
    (tmp_path / "state.safetensors").write_bytes(pickle.dumps(canary))
    with pytest.raises(Exception, match=r"(?i)header|safetensor"):
        state.read(tmp_path)
