"""Loaded models as plain folders of transformers."""

from pathlib import Path

from ser_core.learn.policy.policy import Policy
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.weights.exports import export


def write_plain(model: RewardModel | Policy, folder: Path) -> Path:
    """Write a model and its tokenizer, its adapter merged: it cannot be trained any more."""
    adapted = hasattr(model.network, "peft_config")
    export(model.network.merge_and_unload() if adapted else model.network, model.tokenizer, folder)
    return folder
