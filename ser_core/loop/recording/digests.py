"""What a status says of the committed stages' manifests: enough to tell a changed or deleted one, within the size of a status.

The status names what nothing later reads: every reward model, the controls, the policy, and the stages that it still remembers. A manifest
names its inputs by digest, so all others follow from these (a hash tree, R. Merkle, 1987).
"""

import base64
import re
from collections.abc import Iterator, Mapping

from ser_core.api.status import Digest, SERRunStatus, StageKind
from ser_core.loop.deciding.stages import STAGE_OF_CONTROL, StageKey, committed

_MANIFEST = re.compile(r"/iter-(?P<iteration>\d+)/(?P<stage>[a-z-]+)/MANIFEST\.json$")


def short_digest(sha256: str) -> Digest:
    """Of a SHA-256 in hex what the status keeps; empty where it is none."""
    try:
        return base64.urlsafe_b64encode(bytes.fromhex(sha256)[:16]).decode().rstrip("=")
    except ValueError:
        return ""


def recorded_digests(status: SERRunStatus) -> Mapping[StageKey, Digest]:
    """The digests that a status holds. An earlier version has recorded fewer."""
    return {key: digest for key, digest in _recorded(status) if digest}


def records_all(status: SERRunStatus) -> bool:
    """Whether every committed stage follows from the digests of a status: the run has ended, and this version has recorded all of it."""
    models = sum(row.dev_accuracy is not None for row in status.iterations)
    return status.has_ended and len(status.digests) == models > 0 and all((*status.digests, *(row.digest for row in status.controls)))


def _recorded(status: SERRunStatus) -> Iterator[tuple[StageKey, Digest]]:
    stage_of = {control.value: stage for control, stage in STAGE_OF_CONTROL.items()}
    yield from ((StageKey(iteration, StageKind.RETRAIN), digest) for iteration, digest in enumerate(status.digests))
    yield from ((StageKey(0, stage_of[row.control]), row.digest) for row in status.controls if row.control in stage_of)
    for model in (status.reward_model, status.policy):
        place = None if model is None else _MANIFEST.search(model.uri)
        if model is not None and place is not None:
            yield StageKey(int(place["iteration"]), StageKind(place["stage"])), short_digest(model.manifest_sha256)
    yield from ((key, short_digest(row.manifest_sha256 or "")) for key, row in committed(status).items())
