"""What the administrator lets SERRuns ask for: the lists and caps of the chart's values `allow.…`, which say the same defaults."""

from typing import Annotated

from pydantic import Field
from pydantic.alias_generators import to_snake

from ser_core.api.guarded import AllowList
from ser_core.api.model import Model

Patterns = tuple[Annotated[str, Field(min_length=1, max_length=1200)], ...]
"""Shell patterns. One with ``!`` before it forbids what it matches, whatever the others say."""


class AllowPodTemplate(Model):
    """What a podTemplate may hold. Each list opens a key, and none is open by itself. Secrets and nodes in it are judged by their lists
    too."""

    labels: Patterns = ()
    """Keys of labels."""
    annotations: Patterns = ()
    """Keys of annotations."""
    env: Patterns = ()
    """Names of variables."""
    env_from: Patterns = ()
    """``secret/name`` and ``configMap/name``. Whoever may write such an object sets any variable that the operator does not."""
    volumes: Patterns = ()
    """``secret/name``, ``configMap/name``, ``persistentVolumeClaim/name``, ``emptyDir`` and ``ephemeral``."""
    service_accounts: Patterns = ()
    """Names of ServiceAccounts."""
    image_pull_secrets: Patterns = ()
    """Names of Secrets."""
    runtime_classes: Patterns = ()
    """Names of RuntimeClasses."""
    schedulers: Patterns = ()
    """Names of schedulers."""
    affinity: Patterns = ()
    """``nodeAffinity``, ``podAffinity`` and ``podAntiAffinity``."""
    topology_keys: Patterns = ()
    """Keys of topologySpreadConstraints."""
    resource_claims: Patterns = ()
    """Names of ResourceClaims and ResourceClaimTemplates."""
    resources: Patterns = ()
    """Names of extended resources."""
    sidecars: Patterns = ()
    """Images."""


class Allow(Model):
    """Lists of patterns, in which ``{namespace}`` is the run's namespace, and caps of a stage."""

    read: Patterns = ("hf://*", "{storage}/*")
    """Data and models that a run may read. ``{storage}`` is its own `storage.uri`."""
    write: Patterns = ("s3://*",)
    """Storage of runs."""
    endpoints: Patterns = ()
    """Servers of stores and hubs, as URLs, of which scheme, host and port are compared; none named is always allowed. Whom a run calls
    gets what its credentials sign or say, so nobody is called who is not listed."""
    secrets: Patterns = ("ser-*",)
    """Whoever may create a SERRun can read what these hold by training on it, so it is not every Secret of the namespace."""
    priority_classes: Patterns = ("*", "!system-*")
    """PriorityClasses, and Kueue's WorkloadPriorityClasses."""
    queues: Patterns = ("*",)
    """Kueue's LocalQueues."""
    tolerations: Patterns = ("*", "!node-role.kubernetes.io/control-plane", "!node-role.kubernetes.io/master")
    """Keys of taints."""
    node_selectors: Patterns = ("*",)
    """Labels of nodes, as ``key=value``."""
    pod_template: AllowPodTemplate = AllowPodTemplate()
    nodes: int = Field(default=16, ge=1)
    """Most pods of a stage."""
    gpus: int = Field(default=64, ge=0)
    """Most GPUs of a stage, all its pods together. One stage of a run lives at a time."""

    def patterns(self, by: AllowList) -> Patterns:
        """The list of a name."""
        place, _, inner = by.value.partition(".")
        found: Patterns = getattr(self.pod_template if inner else self, to_snake(inner or place))
        return found
