"""What a SERRun may ask of this operator. Checked before any stage starts; the CRD has checked the rest. Pure.

The lists judge a run once, when it starts: one that has begun goes on, whatever its lists have become. What may be changed later is judged
again when it was changed, which is why the status keeps a digest of what has been let through.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from glob import escape
from itertools import islice
from typing import Any

from ser_core.api.guarded import AllowList, Asked, asked
from ser_core.api.serrun import SERRun
from ser_core.api.spec.pod_template import PodTemplate
from ser_core.api.spec.resources import EVERY_TAINT
from ser_core.api.stage_wire import NOT_SENT
from ser_core.api.values.endpoints import hears_in_clear
from ser_core.loop.observed import Waiting
from ser_operator.allow import Allow
from ser_operator.facts.serruns.patterns import is_allowed
from ser_operator.facts.serruns.pod_template_asks import asks, defects
from ser_operator.objects import labels
from ser_operator.objects.container import escaped
from ser_operator.objects.gang import ONE_PROCESS
from ser_operator.settings import Settings

NOT_SUPPORTED = "NotSupported"
_SHOWN = 120
_MOST_BYTES = 100_000
_MOST_ASKED = 1_000


def refusal(body: Mapping[str, Any], run: SERRun, settings: Settings, digest: str) -> str:
    """Why no stage of ``run`` may be started; empty: it may.

    Args:
        body: The run as the API server holds it, for its labels.
        run: The same, read.
        settings: The operator's.
        digest: Of what it asks for now (`judged`).
    """
    if not run.status.stages:
        return next(_refusals(body, run, settings), "")
    if run.status.judged in (digest, _judged_with_defaults(body, run)) or _begun_by_an_earlier_version(run):
        return ""
    return next(_refusals_of_what_may_change(body, run, settings), "")


def judged(body: Mapping[str, Any], run: SERRun) -> str:
    """Digest of what ``run`` asks for and may change later; of no change in it is the status told by another digest.

    Defaults are left out: a version that knows one more field must find the same digest.
    """
    return _digest(body, run, {place: one.model_dump(mode="json", exclude_defaults=True) for place, one in _pod_templates(run)})


def _judged_with_defaults(body: Mapping[str, Any], run: SERRun) -> str:
    """The digest that an earlier version has written of the same."""
    return _digest(body, run, {place: one.model_dump(mode="json") for place, one in _pod_templates(run)})


def _digest(body: Mapping[str, Any], run: SERRun, templates: Mapping[str, Any]) -> str:
    resources = run.spec.resources
    sizes = [(one.nodes, one.gpus) for one in (getattr(resources, name) for name in type(resources).model_fields)]
    told = [[one.field, one.value] for one in _changeable(body, run)]
    return hashlib.sha256(json.dumps([sizes, told, templates], sort_keys=True).encode()).hexdigest()[:16]


def _pod_templates(run: SERRun) -> Iterator[tuple[str, PodTemplate]]:
    resources = run.spec.resources
    places = {f"resources.{name}.podTemplate": getattr(resources, name).pod_template for name in type(resources).model_fields}
    for place, template in {"podTemplate": run.spec.pod_template, **places}.items():
        if template is not None:
            yield place, template


def _begun_by_an_earlier_version(run: SERRun) -> bool:
    """It has written no digest; what was changed since its last reconcile has not been judged."""
    return not run.status.judged and run.status.observed_generation == run.metadata.generation


def _changeable(body: Mapping[str, Any], run: SERRun) -> Iterator[Asked]:
    yield from asked(run.spec.resources, "resources")
    for place, template in _pod_templates(run):
        yield from asks(template, place)
    if run.spec.queue_name is not None:
        yield Asked("queueName", run.spec.queue_name, AllowList.QUEUES)
    given = (body.get("metadata") or {}).get("labels") or {}
    if labels.PRIORITY in given:
        yield Asked(f"metadata.labels[{labels.PRIORITY}]", str(given[labels.PRIORITY]), AllowList.PRIORITY_CLASSES)


def _refusals(body: Mapping[str, Any], run: SERRun, settings: Settings) -> Iterator[str]:
    changeable = tuple(_changeable(body, run))
    fixed = (one for one in asked(run.spec) if one not in changeable)
    yield from _unless_listed(fixed, run, settings.allow)
    yield from _in_clear(run)
    yield from _files(run)
    yield from _too_long(run)
    yield from _refusals_of_what_may_change(body, run, settings)


def _refusals_of_what_may_change(body: Mapping[str, Any], run: SERRun, settings: Settings) -> Iterator[str]:
    yield from _too_many(run)
    yield from _unless_listed(_changeable(body, run), run, settings.allow)
    yield from _too_large(run, settings.allow)
    for place, template in _pod_templates(run):
        for field, value, why in defects(template, place, settings.gpu_resource):
            yield f"{field} {_cut(repr(value))} is not allowed: {why}"


def _unless_listed(found: Iterable[Asked], run: SERRun, allow: Allow) -> Iterator[str]:
    for one in found:
        patterns = allow.patterns(one.by)
        if not is_allowed(one.value, [_of_run(pattern, run) for pattern in patterns], one.by):
            every = " (every taint, since it names none)" if one.by is AllowList.TOLERATIONS and one.value == EVERY_TAINT else ""
            yield _refused(one.field, f"{one.value!r}{every}", one.by, ", ".join(patterns) or "none")


def _of_run(pattern: str, run: SERRun) -> str:
    """``pattern`` with what its words mean for a run. What a run's author has written is no pattern."""
    return pattern.replace("{namespace}", run.metadata.namespace).replace("{storage}", escape(run.spec.storage.uri.rstrip("/")))


def _refused(field: str, value: str, name: str, allowed: str) -> str:
    """The one form of every refusal: the field, its value, and who may allow it."""
    remedy = f"use an allowed one, or ask who installs the operator for allow.{name}"
    return f"{field} {_cut(value)} is not allowed (allow.{name}: {_cut(allowed)}): {remedy}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _in_clear(run: SERRun) -> Iterator[str]:
    """A hub's token is sent as it is. A store's keys are not: they sign."""
    hub = run.spec.hub
    if hub.credentials_secret is not None and hub.endpoint is not None and hears_in_clear(hub.endpoint):
        yield f"hub.endpoint {hub.endpoint!r} would get the token of hub.credentialsSecret in clear: use an https:// endpoint, or no token"


def _files(run: SERRun) -> Iterator[str]:
    for field, uri in run.spec.inputs.items():
        if uri.startswith("file://"):
            yield f"{field} {uri!r} is a file of a stage's own container: use s3:// or hf://"


def _too_long(run: SERRun) -> Iterator[str]:
    """A stage is told its spec by one variable, of which Linux takes 128 KiB; some of these are the operator's own."""
    told = json.dumps(run.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=dict(NOT_SENT)), ensure_ascii=False)
    size = len(escaped(told).encode())
    if size > _MOST_BYTES:
        yield f"spec is {size:,} bytes long as its stages read it, at most {_MOST_BYTES:,}: shorten templateText, columns or paths"


def _too_many(run: SERRun) -> Iterator[str]:
    """A megabyte holds so many names of nodes that to compare them all with the lists takes seconds, in which every other run waits."""
    for place, template in _pod_templates(run):
        if next(islice(asks(template, place), _MOST_ASKED, None), None) is not None:
            yield f"{place} asks for more than {_MOST_ASKED:,} things, counting every value of an affinity: ask for fewer"


def _too_large(run: SERRun, allow: Allow) -> Iterator[str]:
    for name, field in type(run.spec.resources).model_fields.items():
        wanted, place = getattr(run.spec.resources, name), f"resources.{field.alias or name}"
        gpus = wanted.nodes * wanted.gpus
        if wanted.nodes > allow.nodes:
            yield _refused(f"{place}.nodes", str(wanted.nodes), "nodes", f"at most {allow.nodes}")
        if gpus > allow.gpus:
            yield _refused(f"{place}.gpus", f"{wanted.nodes} x {wanted.gpus} = {gpus}", "gpus", f"at most {allow.gpus} in all")


def unsupported(run: SERRun) -> Waiting | None:
    """Why the next stage of ``run`` cannot be started with its current resources; they may be changed at any time."""
    for stage in sorted(ONE_PROCESS):
        wanted = getattr(run.spec.resources, stage.value)
        if wanted.nodes > 1 or wanted.gpus > 1:
            asked_for = f"resources.{stage.value} asks for {wanted.nodes} nodes with {wanted.gpus} GPUs each"
            told = f"{asked_for}, but {stage.value} is computed in one process: use 1 node and at most 1 GPU"
            return Waiting(NOT_SUPPORTED, told, stalled=True)
    return None
