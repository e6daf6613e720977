"""Which stage ran when, and what it took."""

from dashboards.colours import BLUE, GREEN, MEMORY, SKY
from dashboards.panels import BYTES, COUNT, FEW, SHARE, Axis, Panel, lines, states
from dashboards.queries import RUN, Query, of_gpus, of_run

_STAGE = "{{stage}} of loop {{iteration}}"
_BY_STAGE = "iteration, stage"


def stages() -> list[Panel]:
    """The panels of the row."""
    return [
        states(
            "Phases, stages and learning status",
            "When the run was in which phase, at which stage, and in which learning status.",
            Query(of_run("ser_run_phase", "phase"), "{{phase}}", BLUE),
            Query(of_run("ser_run_stage", "stage"), "{{stage}}", SKY),
            Query(of_run("ser_run_learning_status", "learning_status"), "{{learning_status}}", GREEN),
        ),
        lines(
            "Done share of a stage",
            "As the stage itself tells it.",
            SHARE,
            Query(f"max by ({_BY_STAGE}) (ser_stage_work_done{{{RUN}}} / ser_stage_work_expected{{{RUN}}})", _STAGE),
        ),
        lines("Memory", "Resident memory of the stage.", BYTES, Query(of_run("ser_stage_memory_bytes", _BY_STAGE), _STAGE)),
        lines(
            "Requests to the store that were sent again",
            "Since the start of the attempt.",
            COUNT,
            Query(of_run("ser_stage_store_retries_total", _BY_STAGE), _STAGE),
            axis=FEW,
        ),
        lines(
            "Stored",
            "What lies in the run's folder by kind, as counted when its last stage was committed.",
            BYTES,
            Query(of_run("ser_run_stored_bytes", "kind"), "{{kind}}"),
        ),
        lines(
            "GPU memory",
            "Of the fullest GPU that rank 0 uses: taken by tensors, kept by PyTorch, the most that was taken, and all there is.",
            BYTES,
            Query(of_run("ser_stage_gpu_memory_bytes", "use"), "{{use}}", colours=MEMORY),
        ),
        lines(
            "GPU utilisation",
            "Of every GPU that the run holds, from NVIDIA's DCGM exporter, where it runs and its labels name the pods.",
            "percent",
            Query(of_gpus("DCGM_FI_DEV_GPU_UTIL"), "GPU {{gpu}} of {{Hostname}}"),
            axis=Axis(high=100),
        ),
    ]
