"""SERRunTemplate: what the runs of a team share, written once. A run names one in `spec.templateRef`.

The run is its own spec over the template's, and nothing else of the project asks where a field came from:

- a field that the run names wins; objects are merged field by field, also maps of labels;
- a list of the run takes the place of the template's; in a `podTemplate` items of other names stay, as between two pod templates;
- a field of the run at a default that the API server writes counts as left out: nobody can tell the two apart.
"""

from collections.abc import Mapping
from typing import Any, Literal

from ser_core.api.model import Model
from ser_core.api.serrun import BudgetSpec, Metadata, RetriesSpec
from ser_core.api.server_defaults import VALUES
from ser_core.api.spec.pod_template import PodTemplate, written_over
from ser_core.api.spec.resources import ResourcesSpec
from ser_core.api.spec.storage import HubSpec, StorageAccess
from ser_core.api.values.amounts import Duration
from ser_core.api.values.forms import QueueName

KIND = "SERRunTemplate"
TEMPLATE_UNUSABLE = "TemplateUnusable"
"""Reason of a run that waits for its template."""
MAX_BYTES = 8192
"""Of a template's spec as JSON: every run of it keeps a copy in its status."""

Document = Mapping[str, Any]


class SERRunTemplateSpec(Model):
    """Fields of a SERRun's spec, with the same meaning. What a run learns, from what, and where it is kept stands in the run itself."""

    storage: StorageAccess | None = None
    """How the storage is reached; `storage.uri` stands in the run."""
    hub: HubSpec | None = None
    """The model and dataset hub."""
    resources: ResourcesSpec | None = None
    """Resources per kind of stage."""
    pod_template: PodTemplate | None = None
    """What the pods of all stages have besides."""
    retries: RetriesSpec | None = None
    """How often a stage is tried again."""
    queue_name: QueueName | None = None
    """Kueue queue of the stage Jobs."""
    active_deadline: Duration | None = None
    """Time that a run's stages may run."""
    ttl_after_finished: Duration | None = None
    """Time after the end of a run at which its last Jobs are deleted."""
    budget: BudgetSpec | None = None
    """What a run may cost: each run for itself."""


class SERRunTemplate(Model):
    """What the runs of a namespace share. It is checked like the run that names it, as a part of it."""

    api_version: Literal["ser.dev/v1alpha1"] = "ser.dev/v1alpha1"
    kind: Literal["SERRunTemplate"] = "SERRunTemplate"
    metadata: Metadata
    spec: SERRunTemplateSpec


def resolved(document: Document, uncopied: Document | None = None) -> Document:
    """A SERRun as the API server holds it, with the spec that it has by the copy of its template in its status; without one as it is.

    Args:
        document: The SERRun.
        uncopied: Specs of templates by name, which a run has whose template the operator has not copied yet.
    """
    spec, copy = document.get("spec"), (document.get("status") or {}).get("template")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("templateRef"), Mapping):
        return document
    shared = copy.get("spec") if isinstance(copy, Mapping) else (uncopied or {}).get(spec["templateRef"].get("name"))
    return {**document, "spec": merged(spec, shared)} if isinstance(shared, Mapping) else document


def merged(spec: Document, template: Document) -> dict[str, Any]:
    """The spec of a run over that of its template, both as they are written (rules above)."""
    return _merged(template, spec, "")


def _merged(below: Document, above: Document, path: str) -> dict[str, Any]:
    over = {name: _over(below[name], value, f"{path}.{name}".removeprefix(".")) for name, value in above.items() if name in below}
    return {**below, **above, **over}


def _over(below: Any, above: Any, path: str) -> Any:
    if above is None or (path in VALUES and above == VALUES[path]):
        return below
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return written_over(below, above) if path.endswith("podTemplate") else _merged(below, above, path)
