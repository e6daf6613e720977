"""The copy of a run's SERRunTemplate: when it is made, and what it is. Pure.

It is written into the status before anything else is decided about the run, so a run in flight never sees another version of its template.
"""

import json
from typing import Any

from ser_core.api.known_part import read_status
from ser_core.api.run_template import MAX_BYTES, TEMPLATE_UNUSABLE
from ser_core.api.status import Phase, TemplateStatus
from ser_core.errors import SpecError
from ser_operator.facts.reading import Object, at
from ser_operator.facts.serruns.read_run import is_misread, write_status


def missing_template(body: Object) -> str | None:
    """Name of the SERRunTemplate that a run names and holds no copy of, or one with which another spec of it failed before it began.

    None: there is nothing to copy.
    """
    name = at(body, "spec", "templateRef").get("name")
    if not name:
        return None
    status = read_status(at(body, "status"))
    stays = status.has_ended and status.observed_generation == at(body, "metadata").get("generation")
    return None if stays or (status.template is not None and not is_misread(status)) else str(name)


def with_copy(body: Object, name: str, template: Object | None) -> dict[str, Any]:
    """The status of a run with a copy of its template. One that has failed for its spec before it began has not ended any more.

    Args:
        body: The run.
        name: Of the template.
        template: As the API server holds it; None: it does not.

    Raises:
        SpecError: It is not there or too large (reason `TemplateUnusable`).
    """
    if template is None:
        namespace = at(body, "metadata").get("namespace")
        raise unusable(name, f"namespace {namespace} holds none of that name: create it there, and the run starts")
    spec = dict(at(template, "spec"))
    try:
        size = len(json.dumps(spec, ensure_ascii=False).encode())
    except RecursionError:
        raise unusable(name, "is nested too deep: no object of Kubernetes is") from None
    if size > MAX_BYTES:
        raise unusable(name, f"has {size} bytes, and each of its runs keeps a copy: shorten it to {MAX_BYTES} bytes, and the run starts")
    before = at(body, "status")
    status = read_status(before)
    anew = {"phase": Phase.PENDING, "finished_at": None} if is_misread(status) else {}
    return write_status(status.model_copy(update={"template": TemplateStatus(name=name, spec=spec), **anew}), before)


def unusable(name: str, why: str) -> SpecError:
    """The error of a run that waits for its template."""
    return SpecError(f"spec.templateRef: SERRunTemplate {name!r}: {why}", reason=TEMPLATE_UNUSABLE)
