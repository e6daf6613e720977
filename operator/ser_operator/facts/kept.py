"""What the operator keeps of an object. Pure.

Of a Job that is a tenth, of a pod a fifth: they repeat the whole stage in their environment, and who has written which field. Whoever reads
another field adds it here: objects are cut wherever they come from, so a field that is missing is missing in the first test.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from ser_operator.facts.reading import Object, at

Kind = Literal["SERRun", "Job", "Pod"]

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole object."""
_POD_FIELDS = ("nodeName", "nodeSelector", "affinity", "priorityClassName")
_CONTAINER_FIELDS = ("name", "image", "resources")


def kept(kind: Kind, thing: Object) -> Object:
    """``thing`` without what nobody reads; twice is the same as once."""
    cut = {**thing, "metadata": _metadata(at(thing, "metadata"))}
    spec = at(thing, "spec")
    if kind == "Job" and isinstance(spec.get("template"), Mapping):
        template = spec["template"]
        cut["spec"] = {**spec, "template": {"metadata": template.get("metadata"), "spec": _pod(at(template, "spec"))}}
    elif kind == "Pod":
        cut["spec"] = _pod(spec)
    return cut


def _metadata(metadata: Object) -> Object:
    cut = {key: value for key, value in metadata.items() if key != "managedFields"}
    if _APPLIED in at(metadata, "annotations"):
        cut["annotations"] = {key: value for key, value in at(metadata, "annotations").items() if key != _APPLIED}
    return cut


def _pod(spec: Object) -> Object:
    containers = spec.get("containers")
    cut = _only(spec, _POD_FIELDS)
    if isinstance(containers, list):
        cut["containers"] = [_only(one, _CONTAINER_FIELDS) for one in containers if isinstance(one, Mapping)]
    return cut


def _only(thing: Object, fields: Collection[str]) -> dict[str, Any]:
    return {key: thing[key] for key in fields if key in thing}
