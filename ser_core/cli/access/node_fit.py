"""Whether some node of a cluster could hold the pods of a run. Pure: other pods on the nodes are not counted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.resources import StageResources, Toleration
from ser_core.api.values.quantity import quantity

GPU = "nvidia.com/gpu"
_OF_POLICY = ("sft", "ppo")


@dataclass(frozen=True, slots=True)
class Fit:
    """One kind of stage beside the nodes."""

    stage: str
    wanted: str
    """What one of its pods asks for."""
    nodes: tuple[str, ...]
    """Nodes whose allocatable resources, labels and taints would let it run."""
    nearest: str = ""
    """Where there are none: what is missing on the nearest node."""


def fits(spec: SERRunSpec, nodes: Sequence[Mapping[str, Any]]) -> list[Fit]:
    """Every kind of stage that the run has, in the order of ``spec.resources``."""
    kinds = [name for name in type(spec.resources).model_fields if spec.policy is not None or name not in _OF_POLICY]
    return [_fit(name, getattr(spec.resources, name), nodes) for name in kinds]


def _fit(stage: str, wanted: StageResources, nodes: Sequence[Mapping[str, Any]]) -> Fit:
    lacking = {str(node["metadata"]["name"]): tuple(_lacks(wanted, node)) for node in nodes}
    fitting = tuple(sorted(name for name, missing in lacking.items() if not missing))
    nearest = min(lacking, key=lambda name: (len(lacking[name]), name), default=None)
    told = "" if fitting else "the cluster has no nodes" if nearest is None else f"{nearest}: {', '.join(lacking[nearest])}"
    return Fit(stage, _wanted(wanted), fitting, told)


def _wanted(wanted: StageResources) -> str:
    parts = [
        f"{wanted.gpus} GPU{'s' * (wanted.gpus > 1)}" if wanted.gpus else "",
        f"{wanted.cpu} CPU" if wanted.cpu else "",
        wanted.memory or "",
    ]
    each = ", ".join(part for part in parts if part) or "no request"
    return each if wanted.nodes == 1 else f"{wanted.nodes} pods with {each} each"


def _lacks(wanted: StageResources, node: Mapping[str, Any]) -> Iterable[str]:
    has = node.get("status", {}).get("allocatable", {})
    for name, unit, amount in ((GPU, "GPUs", str(wanted.gpus)), ("cpu", "CPU", wanted.cpu), ("memory", "memory", wanted.memory)):
        if amount is not None and quantity(amount) > quantity(str(has.get(name, "0"))):
            yield f"{has.get(name, '0')} {unit} of {amount}"
    labels = node["metadata"].get("labels", {})
    yield from (f"no label {key}={value}" for key, value in wanted.node_selector.items() if labels.get(key) != value)
    for taint in node.get("spec", {}).get("taints", ()):
        if taint.get("effect") != "PreferNoSchedule" and not any(_tolerates(toleration, taint) for toleration in wanted.tolerations):
            yield f"taint {taint.get('key')} is not tolerated"


def _tolerates(toleration: Toleration, taint: Mapping[str, Any]) -> bool:
    if toleration.effect is not None and toleration.effect != taint.get("effect"):
        return False
    if toleration.key is not None and toleration.key != taint.get("key"):
        return False
    return toleration.operator == "Exists" or (toleration.value or "") == (taint.get("value") or "")
