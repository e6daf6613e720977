"""The pod template of a stage. What a SERRun may not choose (security context, ServiceAccount, command, volumes) is set here. Pure."""

from ser_core.api.serrun import SERRun
from ser_core.api.spec.resources import StageResources
from ser_core.loop.observed import StartStage
from ser_operator.objects import Object, gang, labels, overlay
from ser_operator.objects.asked import pod_template, stage_resources
from ser_operator.objects.container import container
from ser_operator.objects.mounted import volumes
from ser_operator.settings import Settings

NODE_NAME = "metadata.name"
"""Field of a node. Its label kubernetes.io/hostname may say something else."""


def template(run: SERRun, action: StartStage, image: str, settings: Settings, cluster: str) -> Object:
    """The template of an attempt's pods; the arguments are those of `render.job`."""
    wanted = stage_resources(run, action.spec)
    pod: Object = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            **settings.security_context.model_dump(by_alias=True, exclude_none=True),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(run, action, image, settings, cluster)],
        "volumes": volumes(run, action.spec, settings),
        **({"subdomain": gang.service_name(run)} if gang.is_gang(action.spec, wanted) else {}),  # by which its pods have names
        **_if_asked(action, wanted, settings),
    }
    own: Object = {"metadata": {"labels": dict(labels.stage_labels(run, action.spec))}, "spec": pod}
    more = pod_template(run, wanted)
    return own if more is None else overlay.laid_over(own, more, settings)


def _if_asked(action: StartStage, wanted: StageResources, settings: Settings) -> Object:
    """What the administrator or the run asks for, and is absent else."""
    tolerations = (*wanted.tolerations, *(settings.gpu_tolerations if wanted.gpus else ()))
    asked: Object = {
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "nodeSelector": {**(settings.gpu_node_selector if wanted.gpus else {}), **wanted.node_selector},
        "tolerations": [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in tolerations],
        "affinity": _elsewhere(action.avoid_nodes) if action.avoid_nodes else None,
        "priorityClassName": wanted.priority_class_name,
    }
    return {name: value for name, value in asked.items() if value}


def _elsewhere(nodes: tuple[str, ...]) -> Object:
    """Affinity that prefers every other node to ``nodes``. It needs no right to read nodes, and forbids nothing."""
    others = {"matchFields": [{"key": NODE_NAME, "operator": "NotIn", "values": [node]} for node in nodes]}  # a field takes one value each
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": others}]}}
