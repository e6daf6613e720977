"""The volumes of a stage's pod, and where its container finds them. Pure."""

from ser_core.api.serrun import SERRun
from ser_core.api.stage import StageSpec
from ser_core.api.status import StageKind
from ser_operator.objects import Object
from ser_operator.settings import Settings

WORK, SCRATCH, SHARED_MEMORY = "/work", "/tmp", "/dev/shm"
AUTHORITIES = "/etc/ser/storage-authorities"
_CREDENTIALS = "/etc/ser"


def credentials(run: SERRun, spec: StageSpec) -> dict[str, str]:
    """Secret of each credential, by volume name. Only `prepare` reaches the hub."""
    found = {}
    if run.spec.storage.credentials_secret:
        found["storage-credentials"] = run.spec.storage.credentials_secret
    if run.spec.hub.credentials_secret and spec.stage is StageKind.PREPARE:
        found["hub-credentials"] = run.spec.hub.credentials_secret
    return found


def credentials_folder(volume: str) -> str:
    """Where the files of a credential are."""
    return f"{_CREDENTIALS}/{volume}"


def volumes(run: SERRun, spec: StageSpec, settings: Settings) -> list[Object]:
    """All volumes."""
    mode = 0o444 if settings.security_context.fs_group is None else 0o440  # root owns them, and whose group they have is not known
    return [
        {"name": "work", "emptyDir": {"sizeLimit": settings.stage_defaults.work_size}},
        {"name": "scratch", "emptyDir": {"sizeLimit": settings.stage_defaults.scratch_size}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": settings.stage_defaults.shared_memory_size}},
        *({"name": name, "secret": {"secretName": secret, "defaultMode": mode}} for name, secret in credentials(run, spec).items()),
        *_authorities(run),
    ]


def mounts(run: SERRun, spec: StageSpec) -> list[Object]:
    """Their places in the container."""
    return [
        *({"name": name, "mountPath": path} for name, path in (("work", WORK), ("scratch", SCRATCH), ("shared-memory", SHARED_MEMORY))),
        *({"name": name, "mountPath": credentials_folder(name), "readOnly": True} for name in credentials(run, spec)),
        *({"name": one["name"], "mountPath": AUTHORITIES, "readOnly": True} for one in _authorities(run)),
    ]


def with_authorities(spec: StageSpec) -> StageSpec:
    """The stage's spec with the path under which its pod finds the certificates."""
    storage = spec.spec.storage
    if storage.ca_bundle_from is None:
        return spec
    known = storage.model_copy(update={"ca_bundle": f"{AUTHORITIES}/ca.crt"})
    return spec.model_copy(update={"spec": spec.spec.model_copy(update={"storage": known})})


def _authorities(run: SERRun) -> list[Object]:
    """The volume with the certificates that the store's own is judged by. They are no secret, whatever holds them."""
    named = run.spec.storage.ca_bundle_from
    if named is None:
        return []
    source: Object = {"items": [{"key": named.key, "path": "ca.crt"}], "defaultMode": 0o444}
    kind = {"secret": {"secretName": named.secret, **source}} if named.secret else {"configMap": {"name": named.config_map, **source}}
    return [{"name": "storage-authorities", **kind}]
