"""A podTemplate over the operator's own: what the operator has set stays, and its security fields are on everything. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from ser_core.api.spec.pod_template import PodTemplate
from ser_operator.objects import Object
from ser_operator.settings import Settings

OWN_VOLUMES = frozenset({"work", "scratch", "shared-memory", "storage-credentials", "storage-authorities", "hub-credentials"})
_PROGRAMS = ("/opt/ser/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/usr/")
_SETTINGS_OF_PROGRAMS = ("/etc/ld.so.", "/etc/python", "/etc/ssl/openssl.cnf")
_ADDRESSES = ("/etc/host", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf")
OWN_FOLDERS = ("/work/", "/tmp/", "/dev/", "/etc/ser/", "/proc/", "/sys/", *_PROGRAMS, *_SETTINGS_OF_PROGRAMS, *_ADDRESSES)
"""What the paths begin with that no volume may take or hide. One at the programs would bring code that runs with the stage's keys; one at
the addresses of hosts would lead who calls an allowed endpoint to another one."""
CONTAINER_SECURITY: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_VOLUMES = frozenset({"name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"})
"""Kinds of volumes that the level *restricted* takes."""
_OF_THE_NODE = ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace")


def laid_over(template: Object, more: PodTemplate, settings: Settings) -> Object:
    """The operator's pod ``template`` with what ``more`` adds."""
    metadata, pod = template["metadata"], template["spec"]
    (stage,) = pod["containers"]
    mine = [variable["name"] for variable in stage["env"]]  # no set: what an author calls a name may be a list
    claims = [{"name": one.get("name")} for one in more.resource_claims]
    resources = {kind: {**more.resources, **stage["resources"].get(kind, {})} for kind in ("requests", "limits")}
    container = {
        **stage,
        "env": [*(one for one in more.env if one.get("name") not in mine), *stage["env"]],
        **_given({"envFrom": list(more.env_from)}),
        "volumeMounts": [*stage["volumeMounts"], *more.volume_mounts],
        "resources": _given({**resources, "claims": claims}),
    }
    added = {
        "initContainers": [_sidecar(one, settings) for one in more.sidecars],
        "serviceAccountName": more.service_account_name,
        "imagePullSecrets": [*pod.get("imagePullSecrets", ()), *more.image_pull_secrets],
        "runtimeClassName": more.runtime_class_name,
        "schedulerName": more.scheduler_name,
        "affinity": _joined(more.affinity, pod.get("affinity", {})),
        "topologySpreadConstraints": list(more.topology_spread_constraints),
        "resourceClaims": list(more.resource_claims),
    }
    return {
        "metadata": {
            **metadata,
            **_given({"annotations": {**more.annotations, **metadata.get("annotations", {})}}),
            "labels": {**more.labels, **metadata["labels"]},
        },
        "spec": {
            **pod,
            **_given(added),
            "containers": [container],
            "volumes": [*pod["volumes"], *(_bounded(one, settings) for one in more.volumes)],
        },
    }


def _given(fields: Object) -> Object:
    return {name: value for name, value in fields.items() if value}


def _sidecar(one: Object, settings: Settings) -> Object:
    """It starts before the stage and is ended after it. No more of it than of the stage itself is trusted."""
    defaults = {"memory": settings.stage_defaults.memory, "ephemeral-storage": settings.stage_defaults.ephemeral_storage}
    resources = _joined(_given({"limits": _given(defaults)}), one.get("resources") or {})
    return {**one, **_given({"resources": resources}), "restartPolicy": "Always", "securityContext": dict(CONTAINER_SECURITY)}


def _bounded(volume: Object, settings: Settings) -> Object:
    """A folder of the node's disk has an end."""
    folder = volume.get("emptyDir")
    if not isinstance(folder, dict):
        return volume
    named = {name: value for name, value in folder.items() if value is not None}
    return {**volume, "emptyDir": {"sizeLimit": settings.stage_defaults.scratch_size, **named}}


def _joined(below: Any, above: Any) -> Any:
    """Two objects, of which lists are put together."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{name: _joined(below[name], value) if name in below else value for name, value in above.items()}}
    return [*below, *above] if isinstance(below, list | tuple) and isinstance(above, list | tuple) else above


def unrestricted(pod: Object) -> Iterator[str]:
    """What of a rendered pod the level *restricted* of the Pod Security Standards does not take, and a root that can be written to."""
    yield from (name for name in _OF_THE_NODE if pod.get(name))
    context = pod.get("securityContext", {})
    if (
        not context.get("runAsNonRoot")
        or context.get("runAsUser") == 0
        or context.get("seccompProfile", {}).get("type") != "RuntimeDefault"
    ):
        yield "securityContext"
    yield from (f"volumes: {kind}" for volume in pod.get("volumes", ()) for kind in volume.keys() - _VOLUMES)
    for container in (*pod.get("initContainers", ()), *pod.get("containers", ()), *pod.get("ephemeralContainers", ())):
        if container.get("securityContext") != CONTAINER_SECURITY:
            yield f"securityContext of container {container.get('name')}"
        yield from (f"hostPort of container {container.get('name')}" for port in container.get("ports", ()) if port.get("hostPort"))
