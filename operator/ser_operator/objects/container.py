"""The container of a stage: what it runs, is told and may take. Pure."""

from ser_core.api.cluster_identity import CLUSTER
from ser_core.api.serrun import SERRun
from ser_core.api.spec.resources import StageResources
from ser_core.api.stage import StageSpec
from ser_core.api.stage_wire import STAGE, STARTED_BY, write_stage_spec
from ser_core.loop.observed import StartStage
from ser_core.version import VERSION
from ser_operator.objects import Object, gang, labels, overlay
from ser_operator.objects.asked import stage_resources
from ser_operator.objects.mounted import SCRATCH, WORK, credentials, credentials_folder, mounts, with_authorities
from ser_operator.settings import Settings

PROGRESS_PORT = 9400
TERMINATION_LOG = "/dev/termination-log"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def container(run: SERRun, action: StartStage, image: str, settings: Settings, cluster: str) -> Object:
    """The container of an attempt; the arguments are those of `render.job`."""
    wanted = stage_resources(run, action.spec)
    more = {
        **{f"SER_{name.replace('-', '_').upper()}": credentials_folder(name) for name in credentials(run, action.spec)},
        **({CLUSTER: cluster} if cluster else {}),
        **_supervision(settings, action.max_seconds),
        **gang.environment(action.spec, wanted, action.job, run, settings),
    }
    return {
        "name": labels.CONTAINER,
        "image": image,
        "command": ["python", "-m", "ser_jobs.supervisor", "-m", "ser_jobs.runtime"],
        "env": _environment(with_authorities(action.spec), more),
        "ports": [{"name": "progress", "containerPort": PROGRESS_PORT}],
        "resources": _requests(wanted, settings),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "securityContext": dict(overlay.CONTAINER_SECURITY),
        "volumeMounts": mounts(run, action.spec),
    }


def escaped(stage: str) -> str:
    """A stage spec as the value of a variable. Kubernetes expands $(NAME) there; JSON may write every $ in another way."""
    return stage.replace("$", "\\u0024")


def _supervision(settings: Settings, max_seconds: int | None) -> dict[str, str]:
    """What every supervisor is told (`ser_jobs.supervisor.supervision`)."""
    bounds = {"GRACE": settings.grace_seconds, "HANG": settings.hang_seconds, "SILENT": settings.silent_seconds}
    limit = {} if max_seconds is None else {"SER_BUDGET_SECONDS": str(max_seconds)}
    return {**{f"SER_{name}_SECONDS": f"{value:g}" for name, value in bounds.items()}, **limit}


def _environment(spec: StageSpec, more: dict[str, str]) -> list[Object]:
    plain = {
        STAGE: escaped(write_stage_spec(spec)),
        STARTED_BY: VERSION,
        "SER_TERMINATION_MESSAGE": TERMINATION_LOG,
        "SER_WORKDIR": WORK,
        "SER_PROGRESS_PORT": str(PROGRESS_PORT),
        "HOME": WORK,
        "TMPDIR": SCRATCH,
        "TOKENIZERS_PARALLELISM": "false",
        **dict.fromkeys(_THREADS, str(spec.threads)),
        **more,
    }
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return [*({"name": name, "value": value} for name, value in plain.items()), address]


def _requests(wanted: StageResources, settings: Settings) -> Object:
    defaults = settings.stage_defaults
    amounts = {
        "cpu": wanted.cpu,
        "memory": wanted.memory or defaults.memory,
        "ephemeral-storage": defaults.ephemeral_storage,
        settings.gpu_resource: str(wanted.gpus) if wanted.gpus else None,
    }
    named = {name: amount for name, amount in amounts.items() if amount is not None}
    return {"requests": named, "limits": named} if named else {}
