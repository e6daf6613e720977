"""What attempts that did not commit have left in the folder of a committed stage: parts, checkpoints, uploads that were cut off.

Once a stage has its manifest no other attempt can commit it, so whatever the manifest does not name is needed by nobody. Logs and
stacks stay.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ser_core.store.objects.port import ObjectInfo, ObjectStore
from ser_core.store.stages.manifest import Manifest, stage_prefix

_TOLD = re.compile(r"/(log(-rank-\d+)?\.jsonl|stacks-rank-\d+\.txt)$")
"""What attempts have said: their logs, and the stacks of those that hung."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was removed."""

    objects: int = 0
    bytes: int = 0
    uploads: int = 0
    """Uploads that nobody will finish."""


def remove_leftovers(store: ObjectStore, manifest: Manifest) -> Leftovers:
    """Remove what other attempts have left of a stage that ``manifest`` commits. Killed at any moment, the next attempt does the rest."""
    folder = f"{stage_prefix(manifest.run, manifest.iteration, manifest.stage)}/"
    found = list(leftovers(manifest, folder, store.list(folder)))
    for entry in found:
        store.delete(entry.key)
    uploads = store.abandon(folder)  # last: it needs rights of its own
    return Leftovers(len(found), sum(entry.size for entry in found), uploads)


def leftovers(manifest: Manifest, folder: str, there: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Of the objects in a committed stage's folder those that only attempts without a manifest have made. Pure."""
    named = {part.key for part in manifest.outputs.values()}
    for entry in there:
        of_an_attempt = entry.key.startswith((f"{folder}attempt-", f"{folder}checkpoints/"))
        if of_an_attempt and entry.key not in named and _TOLD.search(entry.key) is None:
            yield entry
