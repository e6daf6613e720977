"""Credentials from Secrets that are mounted into the pod: each file is named like the variable that the S3 or hub client reads."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path

from ser_core.api.stage_wire import HUB_CREDENTIALS
from ser_core.errors import StoreAccessDenied

FOLDERS: Mapping[str, frozenset[str]] = {
    "SER_STORAGE_CREDENTIALS": frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}),
    HUB_CREDENTIALS: frozenset({"HF_TOKEN"}),
}
"""By the variable that names a folder: the keys that are read from it. A Secret can set no other variable of a stage."""


def load_credentials(environment: MutableMapping[str, str]) -> None:
    """Copy the credentials from the folders that ``environment`` names into it.

    Raises:
        StoreAccessDenied: A folder has none of its keys (reason `CredentialsMissing`). The next attempt mounts what the Secret then holds.
    """
    for variable, keys in FOLDERS.items():
        if variable not in environment:
            continue
        folder = Path(environment[variable])
        found = {key: (folder / key).read_text(encoding="utf-8").strip() for key in sorted(keys) if (folder / key).is_file()}
        if not found:
            wanted = ", ".join(sorted(keys))
            raise StoreAccessDenied(
                f"the Secret mounted for {variable} has none of the keys {wanted}",
                reason="CredentialsMissing",
                hint=f"write {wanted} into it",
            )
        environment.update(found)
