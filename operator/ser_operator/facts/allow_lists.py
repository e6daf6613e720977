"""What a SERRun may ask of this operator. Checked before any stage starts; the CRD has checked the rest. Pure."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from ser_core.api.serrun import SERRun
from ser_core.loop.observed import Waiting
from ser_operator.objects.gang import ONE_PROCESS
from ser_operator.settings import Settings

NOT_SUPPORTED = "NotSupported"


def refusal(run: SERRun, settings: Settings) -> str:
    """Why no stage of ``run`` may be started; empty: it may."""
    return next(_refusals(run, settings), "")


def _refusals(run: SERRun, settings: Settings) -> Iterator[str]:
    spec = run.spec
    yield from _unless_listed("storage.uri", spec.storage.uri, settings.allowed_storage)
    for name, endpoint in (("storage.endpoint", spec.storage.endpoint), ("hub.endpoint", spec.hub.endpoint)):
        yield from _unless_listed(name, endpoint, settings.allowed_endpoints)
    secrets = {"storage.credentialsSecret": spec.storage.credentials_secret, "hub.credentialsSecret": spec.hub.credentials_secret}
    for name, secret in secrets.items():
        yield from _unless_listed(name, secret, settings.allowed_secrets)
    yield from _files(run)


def _unless_listed(field: str, value: str | None, patterns: tuple[str, ...]) -> Iterator[str]:
    if value is not None and not any(fnmatchcase(value, pattern) for pattern in patterns):
        allowed = ", ".join(patterns) or "none"
        yield f"{field} {value!r} is not allowed by this operator (allowed: {allowed}): use an allowed one, or ask the administrator"


def _files(run: SERRun) -> Iterator[str]:
    for field, uri in run.spec.inputs.items():
        if uri.startswith("file://"):
            yield f"{field} {uri!r} is a file of a stage's own container: use s3:// or hf://"


def unsupported(run: SERRun) -> Waiting | None:
    """Why the next stage of ``run`` cannot be started with its current resources; they may be changed at any time."""
    for stage in sorted(ONE_PROCESS):
        wanted = getattr(run.spec.resources, stage.value)
        if wanted.nodes > 1 or wanted.gpus > 1:
            asked = f"resources.{stage.value} asks for {wanted.nodes} nodes with {wanted.gpus} GPUs each"
            told = f"{asked}, but {stage.value} is computed in one process: use 1 node and at most 1 GPU"
            return Waiting(NOT_SUPPORTED, told, stalled=True)
    return None
