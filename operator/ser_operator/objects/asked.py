"""What a stage asks of the cluster: its resources, its podTemplate, and one number for all of it. Pure."""

import hashlib
import json

from ser_core.api.serrun import SERRun
from ser_core.api.spec.pod_template import PodTemplate
from ser_core.api.spec.resources import StageResources
from ser_core.api.stage import StageSpec
from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import resources
from ser_core.loop.deciding.token_budget import computes_in_batches
from ser_operator.settings import Settings


def stage_resources(run: SERRun, spec: StageSpec) -> StageResources:
    """Resources of an attempt. Looking for a manifest takes no GPU and no torch: it gets what `prepare` has."""
    return resources(run, StageKind.PREPARE if spec.mode == "report" else spec.stage)


def pod_template(run: SERRun, wanted: StageResources) -> PodTemplate | None:
    """What the pods of a stage have besides."""
    if run.spec.pod_template is None or wanted.pod_template is None:
        return run.spec.pod_template or wanted.pod_template
    return wanted.pod_template.over(run.spec.pod_template)


def asked_for(run: SERRun, spec: StageSpec, image: str, settings: Settings) -> str:
    """Digest of what a Job asks of the cluster and a user or administrator may change: a Job of another digest that waits starts anew.

    What is left at its default is left out, so that an operator with more fields asks for the same.
    """
    wanted = stage_resources(run, spec).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    tokens = spec.spec.training.tokens_per_batch if computes_in_batches(spec.stage) else None
    template = run.spec.pod_template
    more = [] if template is None else [template.model_dump(mode="json", by_alias=True, exclude_defaults=True)]
    asked = json.dumps([image, settings.image_pull_secrets, wanted, tokens, *more], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()
