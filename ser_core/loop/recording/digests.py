"""What a status says of the committed stages' manifests: enough to tell a changed or deleted one, within the size of a status.

The status names what nothing later reads: every reward model, the controls, the policy, and the stages that it still remembers. A manifest
names its inputs by digest, so all others follow from these (a hash tree, R. Merkle, 1987).
"""

import re
from collections.abc import Mapping

from ser_core.api.status import SERRunStatus, StageKind
from ser_core.loop.deciding.stages import STAGE_OF_CONTROL, StageKey, committed

_MANIFEST = re.compile(r"/iter-(?P<iteration>\d+)/(?P<stage>[a-z-]+)/MANIFEST\.json$")

Digests = Mapping[StageKey, str]
"""SHA-256 of manifests in hex, or how it begins, by stage."""


def recorded_digests(status: SERRunStatus) -> Digests:
    """The digests that a status holds. An earlier version has recorded fewer."""
    stage_of = {control.value: stage for control, stage in STAGE_OF_CONTROL.items()}
    short = {StageKey(row.iteration, StageKind.RETRAIN): row.digest for row in status.iterations}
    short |= {StageKey(0, stage_of[row.control]): row.digest for row in status.controls if row.control in stage_of}
    found = {key: digest for key, digest in short.items() if digest}
    for model in (status.reward_model, status.policy):
        place = None if model is None else _MANIFEST.search(model.uri)
        if model is not None and place is not None:
            found[StageKey(int(place["iteration"]), StageKind(place["stage"]))] = model.manifest_sha256
    return found | {key: row.manifest_sha256 for key, row in committed(status).items() if row.manifest_sha256}


def records_all(status: SERRunStatus) -> bool:
    """Whether every committed stage follows from the digests of a status: the run has ended, and this version has recorded all of it."""
    models = [row for row in status.iterations if row.dev_accuracy is not None]
    digests = [row.digest for row in models] + [row.digest for row in status.controls]
    return status.has_ended and bool(models) and None not in digests
