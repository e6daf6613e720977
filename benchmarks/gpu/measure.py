"""One case, in a process of its own: a stage or a peer, its tokens a second and the memory that it took."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks.gpu.case import Case, Load, Measured
from benchmarks.gpu.operations import device_name, passes_of, share_of_peak
from benchmarks.gpu.peers import generate, generate_plainly, reward_trainer
from benchmarks.gpu.stage import in_main_memory, spec_of, stage_rate, write_tables
from benchmarks.random_models import SIZES, make_model
from ser_core.data.reading.models.weight_headers import shape_of_folder
from ser_core.memory.plan import Models, plan


def run_case(case: Case, folder: Path, load: Load) -> Measured:
    """Measure one case.

    Args:
        case: Which.
        folder: Of the models, by size; one that is missing is made.
        load: How much is done.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    place = folder / case.size
    if not (place / "model").exists():
        make_model(SIZES[case.size], place / "model", device)
        write_tables(place / "tables", load)
    shape = shape_of_folder(place / "model")
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    peers: Mapping[str, Callable[[], float]] = {
        "generate": lambda: generate(place / "model", load, device, vllm=False),
        "generate-hf": lambda: generate_plainly(place / "model", load, device),
        "generate-vllm": lambda: generate(place / "model", load, device, vllm=True),
        "reward-trainer": lambda: reward_trainer(place, load, device),
    }
    planned = None
    if case.work in peers:
        tokens = peers[case.work]()
    else:
        spec = spec_of(case, load)
        found = plan(case.work, spec, Models(shape, shape), spec.resources.ppo)
        assert found is not None
        if case.offload:
            found = in_main_memory(found, spec, shape)
        tokens = stage_rate(case, spec, place, load, found if case.offload else None)
        planned = found.needs.total
    reached = float(torch.cuda.max_memory_allocated()) if device == "cuda" else None
    return Measured(tokens, share_of_peak(tokens * passes_of(case), shape, device_name()), planned, reached)
