"""Events as `kubectl describe serrun` shows them. Pure: from what the planner tells to the object."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ser_core.api.serrun import API_VERSION, KIND
from ser_core.loop.observed import Event
from ser_core.loop.text import write_time
from ser_operator.objects import Object

COMPONENT = "ser-operator"
_MESSAGE_BYTES = 1000


def event(body: Mapping[str, Any], told: Event, now: datetime, number: int) -> Object:
    """The Event object.

    Its name comes from what it tells and the version of the run that it was told for, so telling it twice makes one.

    Args:
        body: The SERRun that it is about, as it was before.
        told: What happened.
        now: The time to show.
        number: Position among the events of one plan.
    """
    metadata = body["metadata"]
    identity = "\n".join((metadata["uid"], str(metadata.get("resourceVersion")), str(number), told.reason, told.message))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    stamp = write_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:230].rstrip('.-')}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": told.type,
        "reason": told.reason,
        "message": told.message.encode()[:_MESSAGE_BYTES].decode(errors="ignore"),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
