"""A stage that does not fit its GPUs says so before it loads anything."""

from collections.abc import Mapping
from pathlib import Path

from ser_core.api.serrun import SERRunSpec
from ser_core.data.reading.weight_headers import shape_of_folder
from ser_core.errors import OutOfMemory
from ser_core.memory.plan import Models, StagePlan, plan
from ser_core.memory.training import Sharding
from ser_core.memory.words import memory_line, remedy
from ser_core.store.stages.model_folder import root


def refuse_what_does_not_fit(
    stage: str, spec: SERRunSpec, folders: Mapping[str, Path], planned: list[StagePlan], *, processes: int, gpu_memory: int | None
) -> StagePlan | None:
    """Compare what a stage needs with what a GPU of this machine has.

    Args:
        stage: Its name in ``spec.resources``.
        spec: The run's.
        folders: Of the models that the stage needs: ``reward``, ``policy``.
        planned: Gets the plan.
        processes: Of the stage, one for each GPU.
        gpu_memory: Bytes of one GPU; None: there is none.

    Returns:
        The plan; None: there is no GPU, and main memory is taken to suffice.

    Raises:
        OutOfMemory: A GPU does not hold it (reason `DoesNotFit`), with the plan in the message.
    """
    if gpu_memory is None:
        return None
    models = Models(**{model: shape_of_folder(root(folder)) for model, folder in folders.items()})
    asked = getattr(spec.resources, stage)
    pods = asked.nodes if processes % asked.nodes == 0 else 1
    there = asked.model_copy(update={"gpus": processes // pods, "nodes": pods, "gpu_memory": str(gpu_memory)})
    found = plan(stage, spec, models, there)
    if found is None:
        return None
    planned.append(found)
    if not found.fits:
        raise OutOfMemory(memory_line(found), reason="DoesNotFit", hint=remedy(found, spec, models))
    return found


def planned_sharding(plan: StagePlan | None) -> Sharding | None:
    """How a training is spread whose base never is whole, or whose moments are in main memory; None: the engine chooses, by what it
    trains."""
    sharding = plan.sharding if plan is not None else None
    return sharding if sharding is not None and (sharding.pieces or sharding.offload) else None
