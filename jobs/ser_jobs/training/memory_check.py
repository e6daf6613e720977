"""A stage that does not fit its GPUs says so before it loads anything."""

from collections.abc import Mapping
from pathlib import Path

from ser_core.api.serrun import SERRunSpec
from ser_core.data.reading.models.weight_headers import shape_of_folder
from ser_core.errors import OutOfMemory
from ser_core.learn.compute.precision import detect, gpu_memory
from ser_core.loop.deciding.stages import resource_kind
from ser_core.memory.plan import Models, StagePlan, plan
from ser_core.memory.training import Sharding
from ser_core.memory.words import memory_line, remedy
from ser_core.store.stages.model_folder import root
from ser_jobs.process.context import StageContext


def refuse_what_does_not_fit(context: StageContext, folders: Mapping[str, Path]) -> StagePlan | None:
    """Compare what a stage needs with what a GPU of this machine has, and tell `StageContext.memory_plan` of it.

    Args:
        context: Of the stage, which has a process for each GPU.
        folders: Of the models that the stage needs: ``reward``, ``policy``.

    Returns:
        The plan; None: there is no GPU, and main memory is taken to suffice.

    Raises:
        OutOfMemory: A GPU does not hold it (reason `DoesNotFit`), with the plan in the message.
    """
    memory = gpu_memory()
    if memory is None:
        return None
    spec, processes, stage = _as_computed(context.spec.spec), context.world_size, resource_kind(context.spec.stage)
    models = Models(**{model: shape_of_folder(root(folder)) for model, folder in folders.items()})
    asked = getattr(spec.resources, stage)
    pods = asked.nodes if processes % asked.nodes == 0 else 1
    there = asked.model_copy(update={"gpus": processes // pods, "nodes": pods, "gpu_memory": str(memory)})
    found = plan(stage, spec, models, there)
    if found is None:
        return None
    context.memory_plan.tell(found)
    if not found.fits:
        raise OutOfMemory(memory_line(found), reason="DoesNotFit", hint=remedy(found, spec, models))
    return found


def _as_computed(spec: SERRunSpec) -> SERRunSpec:
    """The spec with the precisions of this machine: without bf16 no matrix is kept in half, whatever was asked for."""
    asked = {"reward_model": spec.reward_model, "policy": spec.policy}
    wide = {name: one for name, one in asked.items() if one is not None and detect(one.precision).autocast is None}
    return spec.model_copy(update={name: one.model_copy(update={"precision": "fp32"}) for name, one in wide.items()})


def planned_sharding(plan: StagePlan | None) -> Sharding | None:
    """How a training is spread whose base never is whole, or whose moments are in main memory; None: the engine chooses, by what it
    trains."""
    sharding = plan.sharding if plan is not None else None
    return sharding if sharding is not None and (sharding.pieces or sharding.offload) else None
