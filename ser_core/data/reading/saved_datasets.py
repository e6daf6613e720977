"""Folders that `save_to_disk` of datasets writes: Arrow files, and beside them a `state.json` that says which of them count.

Others of the same form are caches of `map` and `filter`, or left by an earlier save with more shards.
"""

import json
from collections.abc import Collection
from pathlib import PurePosixPath

from ser_core.data.reading.locations import Location
from ser_core.errors import DataError

STATE = "state.json"
ABOUT = frozenset({STATE, "dataset_info.json", "dataset_dict.json"})
"""Names of the files that tell about a dataset and hold no rows."""
_LONGEST = 1 << 20


def stray_files(location: Location, names: Collection[str]) -> frozenset[str]:
    """Arrow files that stand beside a `state.json` and are not part of its dataset.

    Raises:
        DataError: A `state.json` cannot be read, or its dataset is not whole.
    """
    states = [name for name in names if PurePosixPath(name).name == STATE]
    return frozenset(stray for state in states for stray in _beside(state, names) - _listed(location, state, names))


def _beside(state: str, names: Collection[str]) -> set[str]:
    folder = PurePosixPath(state).parent
    return {name for name in names if name.endswith(".arrow") and PurePosixPath(name).parent == folder}


def _listed(location: Location, state: str, names: Collection[str]) -> set[str]:
    folder = PurePosixPath(state).parent
    try:
        content = json.loads(location.beginning(state, _LONGEST))
        listed = {str(folder / entry["filename"]) for entry in content["_data_files"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        return _beside(state, names)  # some other program's state.json
    if missing := sorted(listed - set(names)):
        raise DataError(
            f"{location.pinned}: {state} names {missing[0]}, which is not there",
            reason="DataNotFound",
            hint="save or copy the dataset again",
        )
    if content.get("_indices_data_files"):
        raise DataError(
            f"{location.pinned}: {state} selects rows by a file of indices, as old versions of datasets wrote it",
            reason="UnknownFormat",
            hint="load it and save it again with a newer version of datasets",
        )
    return listed
