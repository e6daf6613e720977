"""Answers of the hub. Each one comes within a deadline, is asked for again while the hub is busy, and comes from where the hub may lead."""

import email.utils
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from ser_core.api.values.endpoints import server
from ser_core.data.reading.hub.places import Place, may_lead, place_of, place_of_host, place_of_name
from ser_core.data.reading.hub.watch import PATIENCE, Flow, Patience, watched

T = TypeVar("T")

_BUSY = frozenset({429, 502, 503, 504})
_LINK_REFUSED = frozenset({401, 403})
"""Where a hub has led, the right lies in the link: it may be too old, and the hub makes it anew each time."""
_LIMIT_ENDS = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*([0-9]{1,9})")
_REDIRECTS = 10
_ERROR_WORDS = 200
_LAST_PORT = 65535
_URL_LENGTH = 8192


class Refused(Exception):
    """The hub answers, and what it says is no success."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(f"answers HTTP {status}{f' ({code})' if code else ''}{f': {words}' if words else ''}")
        self.status, self.code = status, code
        self.words = f": {words}" if words else ""


class Busy(Refused):
    """It may answer later. ``after`` is the pause in seconds that it asks for."""

    after: float | None = None


class LedAstray(Exception):
    """A redirect leads where the hub may not lead."""


class Differs(Exception):
    """What came is not what the hub has declared."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the hub says of a file; None: nothing."""

    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Hub:
    """How a hub is asked."""

    endpoint: str
    patience: Patience = PATIENCE
    with_token: bool = False
    """Whether it gets the token of this machine, or of this pod."""

    def text(self, url: str, limit: int) -> bytes:
        """A whole answer of at most ``limit`` bytes. A hub that was never heard is not asked twice: its name may be wrong.

        Raises:
            Differs: It is longer.
            LedAstray, Refused, TooSlow, HTTPError, OSError: There is no answer.
        """
        content = self._again(lambda flow: self._beginning(flow, url, limit + 1, {}), lost=(Busy,))
        if len(content) > limit:
            raise Differs(f"it is longer than {limit} bytes")
        return content

    def beginning(self, url: str, length: int) -> bytes:
        """The first ``length`` bytes, by a ranged request; a server that does not know ranges is cut short."""
        return self._again(lambda flow: self._beginning(flow, url, length, {"Range": f"bytes=0-{length - 1}"}), lost=_lost())

    def save(self, url: str, path: Path, declared: Declared) -> None:
        """The whole answer as a file, which appears once it is whole and is as declared. A connection that was lost is taken up again.

        Raises:
            Differs: Size or SHA-256 is another; nothing is kept.
            LedAstray, Refused, TooSlow, HTTPError, OSError: As `text`; OSError also for the disk.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.unlink(missing_ok=True)
        try:
            self._again(lambda flow: self._append(flow, url, part, declared), lost=_lost(), brought=lambda: _size(part))
            _compare(part, declared)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    def _again(self, work: Callable[[Flow], T], lost: tuple[type[Exception], ...], brought: Callable[[], int] = lambda: 0) -> T:
        """``work``, tried again while the hub is busy or connections are lost, until it fails too often without having brought anything."""
        failures, before = 0, 0
        while True:
            try:
                return watched(work, self.patience)
            except lost as error:
                now = brought()
                failures, before = (1 if now - before >= self.patience.least else failures + 1), now
                pause = max(getattr(error, "after", None) or 0.0, self.patience.first_wait * 2 ** (failures - 1))
                if failures >= self.patience.tries or pause > self.patience.longest_wait:
                    raise
                time.sleep(pause)

    def _beginning(self, flow: Flow, url: str, length: int, headers: Mapping[str, str]) -> bytes:
        content = b""
        with self._answer(url, headers) as response:
            for piece in response.iter_bytes():
                flow.received += len(piece)
                content += piece
                if len(content) >= length:
                    break
        return content[:length]

    def _append(self, flow: Flow, url: str, part: Path, declared: Declared) -> None:
        have = _size(part)
        if have and have == declared.size:
            return
        with self._answer(url, {"Range": f"bytes={have}-"} if have else {}) as response:
            goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            with part.open("ab" if goes_on else "wb") as file:
                for piece in response.iter_bytes():
                    if flow.is_over:
                        return
                    file.write(piece)
                    flow.received += len(piece)
                    if declared.size is not None and file.tell() > declared.size:
                        raise Differs(f"the hub declares {declared.size} bytes, and more came")

    @contextmanager
    def _answer(self, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """The answer after all redirects. The token goes to the hub's own address alone."""
        from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

        origin = _origin(self.endpoint)
        for _ in range(_REDIRECTS):
            is_own = _origin(url) == origin
            sent = {**_signed(with_token=is_own and self.with_token), "Accept-Encoding": "identity", **headers}
            if not is_own:
                self._refuse_astray(url, _place_if_known(url))
            with get_session().stream("GET", url, headers=sent, follow_redirects=False, timeout=self.patience.silence / 2) as response:
                if not is_own:
                    self._refuse_astray(url, _place_of_peer(url, response))
                if not response.has_redirect_location:
                    _refuse_failure(response, is_own=is_own)
                    yield response
                    return
                url = _redirected(url, response.headers["Location"])
        raise LedAstray(f"redirects more than {_REDIRECTS} times")

    def _refuse_astray(self, url: str, target: Place) -> None:
        """Asked before an address is called, and again of what has answered. OSError: nobody tells now where the hub itself lies."""
        if target is not Place.INTERNET and not may_lead(_place(self.endpoint), target):
            raise LedAstray(f"redirects to {urlsplit(url).hostname}, which lies {_WORDS[target]}")


_WORDS = {
    Place.INTERNET: "on the internet",
    Place.PRIVATE: "in a private network",
    Place.LOOPBACK: "on this machine",
    Place.LINK: "on a link-local address",
}


def _signed(*, with_token: bool) -> dict[str, str]:
    """Who asks. The client's own function for it asks huggingface.co first, whatever hub is meant, and waits where that is out of reach."""
    from huggingface_hub import constants, get_token

    token = get_token() if with_token and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else None
    return {"User-Agent": "ser-operator; hf_hub"} | ({"Authorization": f"Bearer {token}"} if token else {})


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads. An address that two programs could understand in two ways is none."""
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    called = server(target)
    if called is None or int(called.port) > _LAST_PORT or not target.isprintable() or len(target) > _URL_LENGTH:
        raise LedAstray(f"redirects to {location[:_ERROR_WORDS]!r}, which is no web address")
    return target


def _place(url: str) -> Place:
    return (place_of_name if _goes_through_a_proxy(url) else place_of_host)(urlsplit(url).hostname or "")


def _place_if_known(url: str) -> Place:
    """The internet where the name means none, since a request then fails by itself."""
    try:
        return _place(url)
    except OSError:
        return Place.INTERNET


def _place_of_peer(url: str, response: Any) -> Place:
    """Where the answer has come from: a name may mean another address by then."""
    stream = response.extensions.get("network_stream")
    peer = None if stream is None or _goes_through_a_proxy(url) else stream.get_extra_info("server_addr")
    return Place.INTERNET if not peer else place_of(str(peer[0]))


def _goes_through_a_proxy(url: str) -> bool:
    """Whether the client sends a request for ``url`` to a proxy. It is asked itself, since no two programs read `NO_PROXY` alike."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    client: Any = get_session()
    return client._transport_for_url(client.build_request("GET", url).url) is not client._transport


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _refuse_failure(response: Any, *, is_own: bool) -> None:
    """The hub says why in headers; what a failed answer holds beside them is not read."""
    if response.is_success:
        return
    words = response.headers.get("X-Error-Message", "")[:_ERROR_WORDS]
    code = response.headers.get("X-Error-Code", "")
    may_pass = response.status_code in _BUSY or (response.status_code in _LINK_REFUSED and not is_own and not code)
    failure = (Busy if may_pass else Refused)(response.status_code, code, words)
    if isinstance(failure, Busy):
        after = seconds_to_wait(response.headers.get("Retry-After", ""), time.time())
        failure.after = after if after is not None else _until_the_limit_ends(response.headers.get("RateLimit", ""))
    raise failure


def seconds_to_wait(told: str, now: float) -> float | None:
    """What ``Retry-After`` asks for: seconds, or a time (RFC 9110, section 10.2.3); None where it says nothing.

    Args:
        told: The header.
        now: Seconds since 1970.
    """
    if told.strip().isascii() and told.strip().isdigit():
        return float(told)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _until_the_limit_ends(told: str) -> float | None:
    """What huggingface.co says in place of ``Retry-After``: ``"api";r=0;t=55`` (draft-ietf-httpapi-ratelimit-headers)."""
    found = _LIMIT_ENDS.search(told)
    return float(found[1]) + 1 if found else None  # its seconds are rounded


def _lost() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return Busy, HTTPError


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _compare(path: Path, declared: Declared) -> None:
    if declared.size is not None and _size(path) != declared.size:
        raise Differs(f"the hub declares {declared.size} bytes, and {_size(path)} came")
    if declared.sha256 is not None:
        with path.open("rb") as file:
            came = hashlib.file_digest(file, "sha256").hexdigest()
        if came != declared.sha256:
            raise Differs(f"the hub declares SHA-256 {declared.sha256}, and {came} came")
