"""What an S3 server, or a proxy before it, says instead of what was asked for: what it means and what helps. Tables and pure functions.

An answer that waiting does not change becomes an error at once; `meaning` returns None for all others, which may pass. Codes of AWS stand
in its reference (Error responses); those of other servers are MinIO's, Ceph's, and those of the stores that are named beside them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from ser_core.errors import BucketNotFound, ObjectNotFound, SERError, SpecError, StoreAccessDenied, StoreError, StoreRefused
from ser_core.store.objects.port import CONDITIONAL_WRITES

PART_MIB = 16
"""Size of the largest request that is sent."""

_PASSING = frozenset(
    {
        *("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests", "RequestLimitExceeded"),
        *("BandwidthLimitExceeded", "OperationAborted", "ConditionalRequestConflict", "TemporaryRedirect", "InternalError"),
        *("IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "ClientDisconnected"),
    }
)
_PASSING_STATUS = frozenset({408, 409, 425, 429, 499})
_ELSEWHERE = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "IncorrectEndpoint", "Redirect"}
)
_VIRTUAL = frozenset({"SecondLevelDomainForbidden", "VirtualHostDomainRequired", "InvalidPathAccess", "PathStyleDomainForbidden"})
"""Of Alibaba's OSS, Huawei's OBS, Volcengine's TOS and Tencent's COS, which take the bucket in the host name alone."""
_FULL = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageQuotaExceeded"})
_TOO_LARGE = frozenset({"EntityTooLarge", "MaxMessageLengthExceeded", "RequestEntityTooLarge"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_TOKEN = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidClientTokenId", "TokenRefreshRequired"})
_DENIED = frozenset({"AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem", "InvalidSecurity", "NotSignedUp", "UserDisabled"})
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})

RIGHTS = "check the credentials, and that they may read, write, list and delete there"
ADDRESS = "check that storage.endpoint is the address of the S3 API itself"
_OTHER_NAME = "storage.endpoint must have a name of the certificate; with a bucket in the host name, storage.addressing: path helps"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no success."""

    status: int
    """Of HTTP; 0: not known."""
    code: str
    """S3's own, or the status where the body is none of S3."""
    message: str
    region: str | None = None
    """The region of the bucket, if the server tells it."""
    location: str | None = None
    """Where the server redirects to."""
    date: str | None = None
    """The server's clock."""

    @classmethod
    def of(cls, error: ClientError) -> Self:
        """What boto3 has made of an answer."""
        body: Mapping[str, str] = error.response.get("Error", {})  # type: ignore[assignment]
        about = error.response.get("ResponseMetadata", {})
        headers = about.get("HTTPHeaders", {})
        code, message = str(body.get("Code") or ""), str(body.get("Message") or "")
        status = about.get("HTTPStatusCode") or (int(code) if code.isdecimal() else 0)
        code = code or str(status)  # the body was XML, but none of S3
        told = re.search(r"expecting '([a-zA-Z0-9-]+)'", message)
        region = body.get("Region") or headers.get("x-amz-bucket-region") or (told[1] if told else None)
        return cls(status, code, message, region, headers.get("location"), headers.get("date"))

    @property
    def told(self) -> str:
        """For people."""
        http = [f"HTTP {self.status}"] if self.status else []
        code = [] if self.code == str(self.status) else [self.code]
        return ": ".join(filter(None, (" ".join(http + code), self.message)))


def meaning(answer: Answer, what: str, bucket: str, *, reads: bool) -> SERError | None:
    """The error that ``answer`` is, or None: it may pass, so that the request is worth another try.

    Args:
        answer: What came.
        what: The request, for people.
        bucket: The bucket's name.
        reads: The request reads one object, so that it may be missing.
    """
    if (answer.code in _PASSING or answer.status in _PASSING_STATUS) and not _leads_away(answer):
        return None
    if answer.code == "NoSuchBucket":
        return BucketNotFound(f"storage.uri: bucket {bucket!r} does not exist", hint="create the bucket, or name another in another run")
    if answer.code in _ABSENT and (reads or answer.code == "NoSuchKey"):
        return ObjectNotFound(f"{what}: there is no such object")
    told = f"{what}: {answer.told}"
    return _misaddressed(answer, told) or _limited(answer, told) or _denied(answer, told) or _refused(answer, told)


def _leads_away(answer: Answer) -> bool:
    """Whether a server sends requests on for good, whatever code it gives, as one without TLS does. AWS does so for the minutes in which a
    bucket is new.
    """
    host = urlsplit(answer.location or "").hostname
    return host is not None and ".amazonaws.com" not in host


def _misaddressed(answer: Answer, told: str) -> StoreRefused | None:
    hint = None
    if answer.code in _ELSEWHERE or 300 <= answer.status < 400:
        hint = _where(answer)
    elif answer.code in _VIRTUAL:
        hint = "this server takes the bucket in the host name: storage.addressing: virtual"
    elif answer.status in (405, 501) or answer.code in ("MethodNotAllowed", "NotImplemented"):
        hint = f"{ADDRESS} and takes PUT, GET, HEAD and DELETE; a proxy must let them pass"
    return None if hint is None else StoreRefused(told, reason="StoreMisaddressed", hint=hint)


def _where(answer: Answer) -> str:
    if answer.region:
        return f"the bucket lies in another region: storage.region: {answer.region}"
    to = urlsplit(answer.location or "")
    if to.scheme and to.netloc:
        return f"the server sends requests on: storage.endpoint: {to.scheme}://{to.netloc}, if that is the S3 server"
    return "storage.endpoint and storage.region must be those of the bucket"


def _limited(answer: Answer, told: str) -> StoreError | None:
    if answer.code in _CLOCK:
        clock = f"; the server's says {answer.date}" if answer.date else ""
        return StoreRefused(told, reason="ClockSkewed", hint=f"set the clock of this machine (or node) right{clock}")
    if answer.code in _FULL or answer.status == 507:
        return StoreError(told, reason="StoreFull", hint="free space in the store, or raise the quota")
    if answer.code in _TOO_LARGE or answer.status == 413:
        who = "the store" if answer.code in _TOO_LARGE else "the proxy before the store"
        hint = f"let {who} take requests of {PART_MIB} MiB (nginx: client_max_body_size {PART_MIB + 1}m)"
        return StoreRefused(told, reason="RequestTooLarge", hint=hint)
    return None


def _denied(answer: Answer, told: str) -> StoreAccessDenied | None:
    hints = {
        "InvalidAccessKeyId": "the server knows no such key: check AWS_ACCESS_KEY_ID, and that storage.endpoint is its server",
        "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY; a proxy that changes host or path of a request has the same effect",
        **dict.fromkeys(_TOKEN, "get a new AWS_SESSION_TOKEN with its keys, or leave it out for keys that last"),
        **dict.fromkeys(_DENIED, RIGHTS),
    }
    if answer.code in hints or (answer.status in (401, 403) and answer.code != "InvalidObjectState"):
        return StoreAccessDenied(told, hint=hints.get(answer.code, RIGHTS))
    return None


def _refused(answer: Answer, told: str) -> StoreRefused | None:
    if not 400 <= answer.status < 500:
        return None
    if answer.status == 407:
        hint = "a proxy asks for credentials: write them into HTTPS_PROXY, or the store's host into NO_PROXY"
        return StoreRefused(told, reason="StoreMisaddressed", hint=hint)
    if answer.code == str(answer.status):
        more = " (https:// where it speaks TLS), and region and credentials its own" if answer.status == 400 else ""
        return StoreRefused(told, reason="StoreMisaddressed", hint=f"this is no answer of S3: {ADDRESS}{more}")
    if answer.code == "InvalidObjectState":
        return StoreRefused(told, hint="the object lies in an archive: restore it first")
    return StoreRefused(told, hint="do what the server's answer says; waiting does not change it")


def no_conditional_writes(answer: Answer, what: str) -> SpecError | None:
    """The error of a server that knows no ``If-None-Match``, in answer to a request that had it; None: it is another answer."""
    names_it = "if-none-match" in answer.message.lower() and 400 <= answer.status < 500 and answer.status not in (409, 412)
    if answer.code != "NotImplemented" and answer.status != 501 and not names_it:
        return None
    return SpecError(f"{what}: {answer.told}", reason="StoreLacksConditionalWrites", hint=CONDITIONAL_WRITES)


def unanswered(problem: str, what: str) -> StoreError | None:
    """The error of a connection that failed in a way that waiting does not change; None: it may pass.

    Args:
        problem: What the client says of it.
        what: The request, for people.
    """
    told = f"{what}: {problem}"
    other_name = re.search(r"mismatch|not valid for|doesn't match|subjectAltName", problem)
    if other_name or "CERTIFICATE_VERIFY_FAILED" in problem or "certificate verify failed" in problem:
        return StoreRefused(told, reason="StoreNotTrusted", hint=_OTHER_NAME if other_name else _untrusted(problem))
    if "PROTOCOL_VERSION" in problem or "UNSUPPORTED_PROTOCOL" in problem or "HANDSHAKE_FAILURE" in problem:
        return StoreRefused(told, reason="StoreMisaddressed", hint="let the server, or the proxy before it, speak TLS 1.2 or 1.3")
    if "WRONG_VERSION_NUMBER" in problem or "HTTP_REQUEST" in problem or "RECORD_LAYER_FAILURE" in problem:
        return StoreRefused(told, reason="StoreMisaddressed", hint="no TLS is spoken there: http:// in storage.endpoint, or the TLS port")
    if re.search(r"<!doctype html|<html", problem, re.IGNORECASE):
        return StoreRefused(f"{what}: a page of HTML came", reason="StoreMisaddressed", hint=f"this is no answer of S3: {ADDRESS}")
    return None


def _untrusted(problem: str) -> str:
    """What helps where a certificate with the right name is not accepted."""
    if "has expired" in problem:
        return "renew the server's certificate; if it is not old, set the clock of this machine (or node) right"
    if "not yet valid" in problem:
        return "set the clock of this machine (or node) right, or wait until the server's certificate is valid"
    return "name the authority of its certificate in storage.caBundle, on a cluster storage.caBundleFrom"
