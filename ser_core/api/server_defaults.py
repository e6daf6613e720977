"""The defaults that the API server writes into every SERRun: those of version 0.1.0, and no others.

Fields that came later have their default in the types alone. So whatever a SERRun holds that an older operator does not know was set by a
user, and means something; and an older operator, after a rollback, carries all other runs on.

The price: a written default belongs to its run for ever, whatever version reads it later, and one that is not written is read anew by every
version. So the default of a later field never changes. One of these may; then `ser_core.api.stage_wire.ALWAYS_SENT` names it.
"""

from collections.abc import Mapping
from typing import Any

_STAGES = ("prepare", "label", "filter", "retrain", "sft", "ppo")
_OF_A_STAGE = {"nodes": 1, "gpus": 0, "nodeSelector": {}, "tolerations": [], "tolerations[].operator": "Equal"}

OBJECTS = ("training", "loop", "loop.thresholds", "loop.stopping", "policy.kl", "resources", *(f"resources.{s}" for s in _STAGES), "hub")
"""Objects that are written with the defaults of their fields."""

VALUES: Mapping[str, Any] = {
    "rewardModel.maxLength": 1024,
    "rewardModel.adapter.rank": 16,
    "rewardModel.adapter.alpha": 32,
    "rewardModel.precision": "auto",
    "data.source.seedFraction": 0.15,
    "data.source.heldoutFraction": 0.1,
    "data.source.splitBy": "prompt",
    "data.devFraction": 0.25,
    "data.maxDroppedFraction": 0.1,
    "training.epochs": 2,
    "training.learningRate": 2e-05,
    "training.pairsPerStep": 64,
    "training.tokensPerBatch": 8192,
    "training.loss": "bradley-terry",
    "training.margin": 1.0,
    "training.centering": 0.01,
    "training.seed": 0,
    "loop.maxIterations": 4,
    "loop.rule": "calibrated",
    "loop.thresholds.high": 0.55,
    "loop.thresholds.low": 0.45,
    "loop.thresholds.delta": 0.3,
    "loop.thresholds.minSamples": 600,
    "loop.stopping.minGain": 0.0,
    "loop.controls": [],
    "policy.sft.epochs": 1,
    "policy.sft.learningRate": 2e-05,
    "policy.sft.answersPerStep": 16,
    "policy.adapter.rank": 16,
    "policy.adapter.alpha": 32,
    "policy.precision": "auto",
    "policy.steps": 200,
    "policy.rolloutsPerStep": 128,
    "policy.promptTokens": 512,
    "policy.answerTokens": 128,
    "policy.temperature": 0.7,
    "policy.generator": "transformers",
    "policy.learningRate": 1e-06,
    "policy.criticLearningRate": 9e-06,
    "policy.kl.coefficient": 0.05,
    "policy.epochs": 4,
    "policy.minibatches": 1,
    "policy.missingEndPenalty": 1.0,
    "storage.retain": "all",
    "suspend": False,
} | {f"resources.{stage}.{name}": value for stage in _STAGES for name, value in _OF_A_STAGE.items()}
"""Dotted path in the spec, and what version 0.1.0 wrote there."""


def keep_server_defaults(schema: dict[str, Any], path: str = "") -> None:
    """Take the defaults out of a schema, in place, that are not written."""
    if path and path not in OBJECTS and path not in VALUES:
        schema.pop("default", None)
    elif isinstance(schema.get("default"), dict):
        schema["default"] = _written(schema["default"], path)
    for name, inner in schema.get("properties", {}).items():
        keep_server_defaults(inner, f"{path}.{name}".removeprefix("."))
    if "properties" in schema.get("items", {}):
        keep_server_defaults(schema["items"], f"{path}[]")


def _written(default: Any, path: str) -> Any:
    if not isinstance(default, dict):
        return default
    inner = ((f"{path}.{name}", name, value) for name, value in default.items())
    return {name: _written(value, place) for place, name, value in inner if place in OBJECTS or place in VALUES}
