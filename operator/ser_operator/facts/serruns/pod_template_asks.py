"""What a podTemplate asks for, and what it may never hold. Its inside is the author's text, so every look at it is total. Pure."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ser_core.api.guarded import AllowList, Asked
from ser_core.api.spec.pod_template import PodTemplate
from ser_operator.facts.reading import at
from ser_operator.objects import labels
from ser_operator.objects.overlay import OWN_FOLDERS, OWN_VOLUMES

Item = Mapping[str, Any]

_VOLUMES = {"secret": "secretName", "configMap": "name", "persistentVolumeClaim": "claimName", "emptyDir": "", "ephemeral": ""}
"""Kinds of volumes that the level *restricted* takes and that give no token, and where each names what it is of."""
_ENV_FROM = {"secretRef": "secret", "configMapRef": "configMap"}
_SIDECAR = frozenset({"name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "resources", "volumeMounts"})
_MOUNT = frozenset({"name", "mountPath", "subPath", "readOnly"})
_CLAIM = frozenset({"accessModes", "resources", "storageClassName", "volumeMode"})
"""Of an ephemeral volume: a new and empty one. What else there is takes the data of another."""
_OWN_VARIABLES = (
    "SER_*",
    "KUBERNETES_*",
    # Where a stage calls is said by the fields that allow.endpoints judges.
    "HF_ENDPOINT",
    "AWS_ENDPOINT_URL*",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_*PROFILE",
    "AWS_CONTAINER_*",
    "AWS_EC2_METADATA_*",
    # A container runtime gives every GPU of the node to who names it there.
    "*_VISIBLE_DEVICES",
)
_OWN_LABELS = ("ser.dev/*", "app.kubernetes.io/*", "kueue.x-k8s.io/*", "batch.kubernetes.io/*", "pod-security.kubernetes.io/*", "job-name")
_OWN_ANNOTATIONS = ("ser.dev/*", "kueue.x-k8s.io/*", "*apparmor.security.beta.kubernetes.io/*", "*seccomp.security.alpha.kubernetes.io/*")
_OWN_RESOURCES = ("cpu", "memory", "ephemeral-storage")


def asks(template: PodTemplate, place: str) -> Iterator[Asked]:
    """All that ``template``, which stands at ``place`` of the spec, asks for."""
    yield from (Asked(f"{place}.labels", key, AllowList.LABELS) for key in template.labels)
    yield from (Asked(f"{place}.annotations", key, AllowList.ANNOTATIONS) for key in template.annotations)
    yield from _container(template.model_dump(by_alias=True), place)
    for where, one in _numbered(template.volumes, f"{place}.volumes"):
        kind = min(one.keys() - {"name"}, default="")
        name = _text(one, kind, _VOLUMES.get(kind, ""))
        yield Asked(where, f"{kind}/{name}" if name else kind, AllowList.VOLUMES)
        yield from [Asked(where, name, AllowList.SECRETS)] if kind == "secret" else []
    for where, one in _numbered(template.image_pull_secrets, f"{place}.imagePullSecrets"):
        yield from (Asked(where, _text(one, "name"), by) for by in (AllowList.IMAGE_PULL_SECRETS, AllowList.SECRETS))
    for name, value, by in (
        ("serviceAccountName", template.service_account_name, AllowList.SERVICE_ACCOUNTS),
        ("runtimeClassName", template.runtime_class_name, AllowList.RUNTIME_CLASSES),
        ("schedulerName", template.scheduler_name, AllowList.SCHEDULERS),
    ):
        yield from [Asked(f"{place}.{name}", value, by)] if value is not None else []
    yield from (Asked(f"{place}.affinity", key, AllowList.AFFINITY) for key in template.affinity)
    yield from (Asked(f"{place}.affinity.nodeAffinity", label, AllowList.NODE_SELECTORS) for label in _labels_of_nodes(template.affinity))
    for where, one in _numbered(template.topology_spread_constraints, f"{place}.topologySpreadConstraints"):
        yield Asked(where, _text(one, "topologyKey"), AllowList.TOPOLOGY_KEYS)
    for where, one in _numbered(template.resource_claims, f"{place}.resourceClaims"):
        yield Asked(where, _text(one, "resourceClaimName") or _text(one, "resourceClaimTemplateName"), AllowList.RESOURCE_CLAIMS)
    yield from (Asked(f"{place}.resources", name, AllowList.RESOURCES) for name in template.resources)
    for where, one in _numbered(template.sidecars, f"{place}.sidecars"):
        yield Asked(f"{where}.image", _text(one, "image"), AllowList.SIDECARS)
        yield from _container(one, where)
        for amounts in (at(one, "resources", "requests"), at(one, "resources", "limits")):
            yield from (Asked(f"{where}.resources", name, AllowList.RESOURCES) for name in amounts if name not in _OWN_RESOURCES)


def _container(one: Item, place: str) -> Iterator[Asked]:
    for where, variable in _numbered(one.get("env"), f"{place}.env"):
        yield Asked(where, _text(variable, "name"), AllowList.ENV)
        if secret := at(variable, "valueFrom", "secretKeyRef"):
            yield Asked(where, _text(secret, "name"), AllowList.SECRETS)
        if config := at(variable, "valueFrom", "configMapKeyRef"):
            yield Asked(where, f"configMap/{_text(config, 'name')}", AllowList.ENV_FROM)
    for where, source in _numbered(one.get("envFrom"), f"{place}.envFrom"):
        for reference, kind in _ENV_FROM.items():
            if reference in source:
                name = _text(source, reference, "name")
                yield Asked(where, f"{kind}/{name}", AllowList.ENV_FROM)
                yield from [Asked(where, name, AllowList.SECRETS)] if kind == "secret" else []


def _labels_of_nodes(affinity: Item) -> Iterator[str]:
    """The labels by which nodes are chosen, as a nodeSelector would; of one that is only compared, every value."""
    required = at(affinity, "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution").get("nodeSelectorTerms")
    preferred = at(affinity, "nodeAffinity").get("preferredDuringSchedulingIgnoredDuringExecution")
    for term in (*_items(required), *(at(one, "preference") for one in _items(preferred))):
        for one in (*_items(term.get("matchExpressions")), *_items(term.get("matchFields"))):
            values = one.get("values")
            named = values if one.get("operator") == "In" and isinstance(values, list) else ["*"]
            yield from (f"{_text(one, 'key')}={value}" for value in named)


def defects(template: PodTemplate, place: str, gpu: str) -> Iterator[tuple[str, str, str]]:
    """What no list can allow: field, value, and why.

    Args:
        template: Of a run or a stage.
        place: Where it stands in the spec.
        gpu: Resource by which nodes count GPUs.
    """
    for name, keys, own in (("labels", template.labels, _OWN_LABELS), ("annotations", template.annotations, _OWN_ANNOTATIONS)):
        yield from ((f"{place}.{name}", key, "the operator or the cluster sets it") for key in keys if _matches(key, own))
    counted = "ask for it by resources.<stage>"
    yield from ((f"{place}.resources", name, counted) for name in template.resources if name in (*_OWN_RESOURCES, gpu))
    for where, one in _numbered(template.volumes, f"{place}.volumes"):
        kinds = one.keys() - {"name"}
        if len(kinds) != 1 or not kinds <= _VOLUMES.keys():
            yield where, ", ".join(sorted(map(str, kinds))), f"give one of {', '.join(_VOLUMES)}"
        claim = at(one, "ephemeral", "volumeClaimTemplate", "spec")
        yield from ((where, str(key), f"an ephemeral volume has {', '.join(sorted(_CLAIM))} alone") for key in claim.keys() - _CLAIM)
        if _text(one, "name") in OWN_VOLUMES:
            yield f"{where}.name", _text(one, "name"), "the operator's own volume has this name"
    yield from _defects_of_container(template.model_dump(by_alias=True), place)
    for where, one in _numbered(template.sidecars, f"{place}.sidecars"):
        yield from ((where, str(key), f"a sidecar has {', '.join(sorted(_SIDECAR))} alone") for key in one.keys() - _SIDECAR)
        if one.get("name") == labels.CONTAINER:
            yield f"{where}.name", labels.CONTAINER, "it is the stage's own"
        amounts = {**at(one, "resources", "requests"), **at(one, "resources", "limits")}
        yield from ((f"{where}.resources", gpu, counted) for name in amounts if name == gpu)
        yield from _defects_of_container(one, where)


def _defects_of_container(one: Item, place: str) -> Iterator[tuple[str, str, str]]:
    for where, variable in _numbered(one.get("env"), f"{place}.env"):
        if _matches(_text(variable, "name"), _OWN_VARIABLES):
            yield f"{where}.name", _text(variable, "name"), "the operator sets such variables"
        sources = at(variable, "valueFrom").keys() - {"secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"}
        yield from ((f"{where}.valueFrom", str(source), "give secretKeyRef or configMapKeyRef") for source in sources)
    for where, source in _numbered(one.get("envFrom"), f"{place}.envFrom"):
        if not _ENV_FROM.keys() & source.keys() or source.keys() - _ENV_FROM.keys() - {"prefix"}:
            yield where, ", ".join(sorted(map(str, source))), f"give one of {', '.join(_ENV_FROM)}"
        prefix = _text(source, "prefix")
        if prefix and any(own.startswith(prefix) or fnmatchcase(prefix, own) for own in _OWN_VARIABLES):
            yield f"{where}.prefix", prefix, "the operator sets such variables"
    for where, mount in _numbered(one.get("volumeMounts"), f"{place}.volumeMounts"):
        yield from ((where, str(key), f"a mount has {', '.join(sorted(_MOUNT))} alone") for key in mount.keys() - _MOUNT)
        if _text(mount, "name") in OWN_VOLUMES:
            yield f"{where}.name", _text(mount, "name"), "it is the operator's own volume"
        path = "/" + "/".join(part for part in _text(mount, "mountPath").split("/") if part not in ("", "."))
        if ".." in path.split("/") or any(
            f"{path}/".startswith(own) or own.startswith(f"{path}/".replace("//", "/")) for own in OWN_FOLDERS
        ):
            yield f"{where}.mountPath", path, "what belongs to the operator or to the image's programs is there"


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _items(value: Any) -> list[Item]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _numbered(value: Any, place: str) -> Iterator[tuple[str, Item]]:
    yield from ((f"{place}[{number}]", one) for number, one in enumerate(_items(value)))


def _text(one: Item, *path: str) -> str:
    found = at(one, *path[:-1]).get(path[-1])
    return "" if found is None else str(found)
