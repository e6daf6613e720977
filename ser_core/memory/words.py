"""A plan in words: what a stage needs, and what to change where it does not fit."""

import math
from collections.abc import Iterator

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.resources import StageResources
from ser_core.memory.amounts import GIBIBYTE, room_of
from ser_core.memory.plan import Models, StagePlan, plan

_GPUS = (1, 2, 4, 8, 16, 32, 64, 128)
_PARTS = 3
_MOST_DIGITS = 12
"""More than tell single bytes apart."""
_ENDLESS = "64Ti"
"""More main memory than a pod has."""
_FIELDS = {"label": "rewardModel", "retrain": "rewardModel", "sft": "policy", "ppo": "policy"}


def memory_line(found: StagePlan) -> str:
    """One line, for example ``stage retrain: 61 of 80 GiB a GPU on 8 GPUs (ZeRO-2): weights 30, moments 7.5, activations 12``."""
    spread = str(found.sharding) if found.sharding is not None else f"model in {found.pieces} pieces" if found.pieces > 1 else ""
    spread = ", ".join(filter(None, (spread, f"{found.tokens} tokens a batch" if found.tokens else "")))
    assumed = ", assumed" if found.assumed else ""
    largest = sorted(found.needs.parts.items(), key=lambda part: -part[1])[:_PARTS]
    parts = ", ".join(f"{name} {_gibibytes(size)}" for name, size in largest)
    count = f"{found.gpus} GPU{'s' * (found.gpus > 1)}"
    needed, room = _compared(found.needs.total, room_of(found.gpu_memory))
    limit = "" if found.fits else f" (tensors may take {room})"
    size = f"{needed} of {_gibibytes(found.gpu_memory)} GiB a GPU{assumed}{limit}"
    return f"stage {found.stage}: {size} on {count}{f' ({spread})' if spread else ''}: {parts}"


def host_line(found: StagePlan) -> str:
    """One line, for example ``stage retrain: 72 of 64 GiB of main memory a pod: models while they are loaded 56, libraries 16``."""
    size = _gibibytes(found.host.total) if found.memory is None else " of ".join(_compared(found.host.total, found.memory))
    parts = ", ".join(f"{name} {_gibibytes(size)}" for name, size in sorted(found.host.parts.items(), key=lambda part: -part[1]))
    return f"stage {found.stage}: {size} GiB of main memory a pod: {parts}"


def misfits(found: StagePlan, spec: SERRunSpec, models: Models) -> Iterator[str]:
    """What is said of a stage before it begins; nothing: it fits."""
    if not found.fits:
        yield f"{memory_line(found)}: does not fit; {remedy(found, spec, models)}"
    if not found.pod_holds_it:
        enough = math.ceil(found.host.total / GIBIBYTE)
        yield f"{host_line(found)}: does not fit; it fits with resources.{found.stage}.memory {enough}Gi"


def remedy(found: StagePlan, spec: SERRunSpec, models: Models) -> str:
    """What would make a stage fit that does not: more GPUs, main memory, or an adapter, whichever of them helps."""
    ways = [way for ways in (_more_gpus, _main_memory, _adapter) for way in ways(found, spec, models)]
    return f"it fits with {', or '.join(ways)}" if ways else "no number of GPUs of this size is enough: name a smaller model"


def _more_gpus(found: StagePlan, spec: SERRunSpec, models: Models) -> Iterator[str]:
    enough = _enough_gpus(found, spec, models)
    if enough is not None:
        yield f"{enough} GPUs (resources.{found.stage}.gpus and nodes)"


def _main_memory(found: StagePlan, spec: SERRunSpec, models: Models) -> Iterator[str]:
    """Main memory for what needs not be on a GPU all the time."""
    wanted: StageResources = getattr(spec.resources, found.stage)
    there = {"gpus": found.gpus // wanted.nodes, "gpu_memory": str(found.gpu_memory), "memory": _ENDLESS}
    tried = plan(found.stage, spec, models, wanted.model_copy(update=there))
    if tried is not None and tried.fits:
        yield f"resources.{found.stage}.memory {math.ceil(tried.host.total / GIBIBYTE)}Gi (moments in main memory)"


def _adapter(found: StagePlan, spec: SERRunSpec, models: Models) -> Iterator[str]:
    name = _FIELDS[found.stage]
    part = spec.reward_model if name == "rewardModel" else spec.policy
    if found.stage == "label" or part is None or part.adapter is not None:
        return
    adapted = part.model_copy(update={"adapter": AdapterSpec()})
    enough = _enough_gpus(found, spec.model_copy(update={"reward_model" if name == "rewardModel" else "policy": adapted}), models)
    if enough is not None:
        yield f"{name}.adapter on {enough} GPU{'s' * (enough > 1)}"


def _enough_gpus(found: StagePlan, spec: SERRunSpec, models: Models) -> int | None:
    """The smallest usual number of GPUs on which the stage fits."""
    wanted: StageResources = getattr(spec.resources, found.stage)
    for count in _GPUS:
        nodes = max(1, count // 8)
        tried = plan(found.stage, spec, models, wanted.model_copy(update={"gpus": count // nodes, "nodes": nodes}))
        if tried is not None and tried.fits:
            return count
    return None


def _compared(size: float, limit: float) -> tuple[str, str]:
    """Both, with so many digits that what is more than its limit looks like it."""
    shown = [(_gibibytes(size, more), _gibibytes(limit, more)) for more in range(_MOST_DIGITS)]
    return next((pair for pair in shown if (float(pair[0]) > float(pair[1])) == (size > limit)), shown[-1])


def _gibibytes(size: float, more: int = 0) -> str:
    return f"{size / GIBIBYTE:.{more + (size < 10 * GIBIBYTE)}f}"
