"""Repositories on a model hub, read at one commit. The hub may be hostile, too slow or too busy: `answers` bounds what it can do."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from ser_core.api.spec.storage import HubSpec
from ser_core.api.stage_wire import HUB_CREDENTIALS
from ser_core.api.values.endpoints import hears_in_clear
from ser_core.api.values.uris import split_hub
from ser_core.data.reading.hub.answers import Busy, Declared, Differs, Hub, LedAstray, Refused
from ser_core.data.reading.hub.watch import PATIENCE, Patience, TooSlow
from ser_core.errors import DataError, SERError, SpecError, StoreError, is_disk_full

Kind = Literal["dataset", "model"]

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_LISTING_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class HubRepository:
    """The files of a repository at one commit."""

    pinned: str
    declared: Mapping[str, Declared]
    name: str
    commit: str
    kind: Kind
    hub: Hub

    @property
    def sizes(self) -> Mapping[str, int | None]:
        """Bytes by name, as the hub declares them."""
        return {name: one.size for name, one in self.declared.items()}

    def fetch(self, name: str, folder: Path) -> Path:
        """Download one file of the commit, unless it lies there already. Its size, and its SHA-256 where it is in LFS, are as declared."""
        path = folder / self.commit / name
        if not path.exists():
            with _explained(f"{name} of {self.pinned}", self.kind, self.hub.endpoint):
                self.hub.save(self._url(name), path, self.declared.get(name, Declared()))
        return path

    def beginning(self, name: str, length: int) -> bytes:
        """One ranged request; none for a file without bytes, of which servers refuse every range."""
        if self.sizes.get(name) == 0:
            return b""
        with _explained(f"{name} of {self.pinned}", self.kind, self.hub.endpoint):
            return self.hub.beginning(self._url(name), length)

    def _url(self, name: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.name, name, repo_type=self.kind, revision=self.commit, endpoint=self.hub.endpoint)


def open_repository(uri: str, hub: HubSpec, kind: Kind, revision: str | None, patience: Patience = PATIENCE) -> HubRepository:
    """The repository behind an ``hf://`` URI, its revision resolved to a commit.

    Raises:
        DataError, SpecError: There is no such dataset or model, it is gated, or the hub redirects to where it may not.
        StoreError: The hub cannot be reached, or is too slow or too busy.
    """
    try:
        from huggingface_hub import get_token
    except ImportError as error:
        raise SpecError(
            f"{uri} needs huggingface_hub", reason="HubClientMissing", hint="in a checkout of this project: pip install '.[jobs]'"
        ) from error
    repository, in_uri = split_hub(uri)
    endpoint = (hub.endpoint or _own_endpoint()).rstrip("/")
    if _may_have_token(endpoint) and hears_in_clear(endpoint) and get_token():
        raise SpecError(
            f"{uri}: {endpoint!r} would get the token of the hub in clear",
            reason="TokenInClear",
            hint="give an https:// endpoint, or no token: unset HF_TOKEN, hf auth logout, or leave hub.credentialsSecret out",
        )
    at = f"/revision/{quote(revision or in_uri or '', safe='')}" if revision or in_uri else ""
    asked = Hub(endpoint, patience, with_token=_may_have_token(endpoint))
    with _explained(uri, kind, endpoint, absent="RepoOrRevisionNotFound" if at else "RepoNotFound"):
        sha, declared = _listing(asked.text(f"{endpoint}/api/{kind}s/{repository}{at}?blobs=true", _LISTING_BYTES))
    return HubRepository(f"hf://{repository}@{sha}", declared, repository, sha, kind, asked)


def _own_endpoint() -> str:
    """The hub of this machine."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _may_have_token(endpoint: str) -> bool:
    """Whether a hub gets the token: that of this machine, and in a pod the one that the token was mounted for.

    Another one is named by the SERRun alone, and that may be a stranger's.
    """
    return HUB_CREDENTIALS in os.environ or endpoint == _own_endpoint()


def _withheld(endpoint: str) -> str:
    """For a hint, where a hub got no token although there is one."""
    from huggingface_hub import get_token

    if _may_have_token(endpoint) or not get_token():
        return ""
    return f", which goes to the hub of HF_ENDPOINT alone: if this one is yours, set HF_ENDPOINT={endpoint}"


def _listing(content: bytes) -> tuple[str, dict[str, Declared]]:
    """The commit, and what the hub declares of each file whose name stays in its folder.

    Raises:
        Differs: The answer is none of a hub.
    """
    try:
        told = json.loads(content)
        files = {file["rfilename"]: _declared(file) for file in told.get("siblings") or () if not _escapes(file["rfilename"])}
        sha = str(told["sha"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Differs(f"its list of files is none: {str(error)[:100]}") from error
    if not _COMMIT.fullmatch(sha):
        raise Differs(f"its commit is none: {sha[:80]!r}")
    return sha, files


def _declared(file: Mapping[str, Any]) -> Declared:
    size, sha256 = file.get("size"), (file.get("lfs") or {}).get("sha256")
    return Declared(size if type(size) is int and size >= 0 else None, sha256 if isinstance(sha256, str) else None)


def _escapes(name: str) -> bool:
    return any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or not name.isprintable()


@contextlib.contextmanager
def _explained(what: str, kind: Kind, endpoint: str, absent: str = "") -> Iterator[None]:
    """``absent``: the code that is meant by a server that says HTTP 404 and no code, as many a mirror does."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        yield
    except Refused as error:
        error.code = error.code or (absent if error.status == HTTPStatus.NOT_FOUND else "")
        raise _refusal(what, kind, endpoint, error) from error
    except LedAstray as error:
        raise SpecError(
            f"{what}: {endpoint} {error}",
            reason="HubRedirectRefused",
            hint="set hub.endpoint, or HF_ENDPOINT, to a hub that lies in that network itself: one named there may lead there",
        ) from error
    except (TooSlow, Differs) as error:
        raise _unavailable(what, endpoint, error, "try again later, or set hub.endpoint or HF_ENDPOINT to another mirror") from error
    except (HTTPError, OSError) as error:
        if is_disk_full(error):
            raise
        said = f"cannot be reached: {error}"
        raise _unavailable(what, endpoint, said, "check the network, hub.endpoint and HF_ENDPOINT") from error


def _refusal(what: str, kind: Kind, endpoint: str, error: Refused) -> SERError:
    missing, reason = (DataError, "DataNotFound") if kind == "dataset" else (SpecError, "ModelNotFound")
    withheld = _withheld(endpoint)
    if error.code == "GatedRepo":
        hint = f"accept its conditions at {endpoint} and give HF_TOKEN of that account{withheld}"
        return SpecError(f"{what} is gated{error.words}", reason="HubAccessDenied", hint=hint)
    if error.code in ("RepoNotFound", "RepoOrRevisionNotFound"):
        name, thing = ("name", kind) if error.code == "RepoNotFound" else ("name and the revision", f"{kind}, or no such revision of it,")
        hint = f"check the {name}, and hub.endpoint if it was set; a private one needs HF_TOKEN{withheld}"
        return missing(f"{what}: no such {thing} at {endpoint}", reason=reason, hint=hint)
    if error.code == "RevisionNotFound":
        return missing(f"{what}: no such revision at {endpoint}", reason=reason, hint="name a branch, a tag or a full commit")
    if error.status in (401, 403) and not isinstance(error, Busy):
        return SpecError(f"{what}: {endpoint} refuses access{error.words}", reason="HubAccessDenied", hint=f"check HF_TOKEN{withheld}")
    return _unavailable(what, endpoint, error, "try again later, or set hub.endpoint or HF_ENDPOINT to another mirror")


def _unavailable(what: str, endpoint: str, told: object, hint: str) -> StoreError:
    first_line = str(told).split("\n")[0][:200]
    return StoreError(f"{what}: {endpoint}: {first_line}", reason="HubUnavailable", hint=hint)
