"""Repositories on a model hub, read at one commit through huggingface_hub."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ser_core.api.endpoints import server
from ser_core.api.serrun import HubSpec
from ser_core.api.uris import split_hub
from ser_core.errors import DataError, SpecError, StoreError, is_disk_full

Kind = Literal["dataset", "model"]


@dataclass(frozen=True, slots=True)
class HubRepository:
    """The files of a repository at one commit."""

    pinned: str
    sizes: Mapping[str, int | None]
    name: str
    commit: str
    kind: Kind
    endpoint: str | None

    def fetch(self, name: str, folder: Path) -> Path:
        """Download one file of the commit."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()  # standard output and error of a stage carry JSON events
        with _explained(self.pinned, self.kind, self.endpoint):
            return Path(
                hf_hub_download(self.name, name, repo_type=self.kind, revision=self.commit, local_dir=folder, endpoint=self.endpoint)
            )

    def beginning(self, name: str, length: int) -> bytes:
        """One ranged request; a server that does not know ranges is cut short."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

        url = hf_hub_url(self.name, name, repo_type=self.kind, revision=self.commit, endpoint=self.endpoint)
        headers = {**build_hf_headers(), "Range": f"bytes=0-{length - 1}"}
        content = b""
        with (
            _explained(self.pinned, self.kind, self.endpoint),
            get_session().stream("GET", url, headers=headers, follow_redirects=True) as response,
        ):
            hf_raise_for_status(response)
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) >= length:
                    break
        return content[:length]


def open_repository(uri: str, hub: HubSpec, kind: Kind, revision: str | None) -> HubRepository:
    """The repository behind an ``hf://`` URI, its revision resolved to a commit.

    Raises:
        DataError, SpecError: There is no such dataset or model, or it is gated.
        StoreError: The hub cannot be reached.
    """
    try:
        from huggingface_hub import HfApi, get_token
    except ImportError as error:
        raise SpecError(
            f"{uri} needs huggingface_hub", reason="HubClientMissing", hint="in a checkout of this project: pip install '.[jobs]'"
        ) from error
    repository, in_uri = split_hub(uri)
    endpoint = hub.endpoint or os.environ.get("HF_ENDPOINT")
    called = server(endpoint) if endpoint else None
    if called is not None and called.hears_in_clear and get_token():
        raise SpecError(
            f"{uri}: {endpoint!r} would get the token of the hub in clear",
            reason="TokenInClear",
            hint="give an https:// endpoint, or no token: unset HF_TOKEN, or leave hub.credentialsSecret out",
        )
    with _explained(uri, kind, endpoint):
        api = HfApi(endpoint=endpoint)
        told_by = api.dataset_info if kind == "dataset" else api.model_info
        # Sizes show weights that are cut off.
        info = told_by(repository, revision=revision or in_uri, files_metadata=kind == "model")
    files = {file.rfilename: file.size for file in info.siblings or () if not _escapes(file.rfilename)}
    return HubRepository(f"hf://{repository}@{info.sha}", files, repository, str(info.sha), kind, endpoint)


def _escapes(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or "\\" in name or not name.isprintable()


@contextlib.contextmanager
def _explained(uri: str, kind: Kind, endpoint: str | None) -> Iterator[None]:
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    missing = DataError if kind == "dataset" else SpecError
    reason = "DataNotFound" if kind == "dataset" else "ModelNotFound"
    where = endpoint or "the hub"
    try:
        yield
    except GatedRepoError as error:
        raise SpecError(
            f"{uri} is gated", reason="HubAccessDenied", hint=f"accept its conditions at {where} and give HF_TOKEN of that account"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise missing(f"{uri}: no such {kind} at {where}", reason=reason, hint="check the name; a private one needs HF_TOKEN") from error
    except RevisionNotFoundError as error:
        raise missing(f"{uri}: no such revision at {where}", reason=reason, hint="name a branch, a tag or a full commit") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise SpecError(f"{uri}: {where} refuses access", reason="HubAccessDenied", hint="check HF_TOKEN") from error
        raise _unavailable(uri, where, error) from error
    except (HTTPError, OSError) as error:
        if is_disk_full(error):
            raise
        raise _unavailable(uri, where, error) from error


def _unavailable(uri: str, where: str, error: Exception) -> StoreError:
    first_line = str(error).split("\n")[0][:200]
    return StoreError(
        f"{uri}: {where} cannot be reached: {first_line}", reason="HubUnavailable", hint="check the network, hub.endpoint and HF_ENDPOINT"
    )
