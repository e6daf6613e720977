"""The object store on S3 and the servers that speak it."""

import base64
import contextlib
import functools
import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from ser_core.errors import ObjectNotFound, SpecError, StoreAccessDenied, StoreError, StoreRefused
from ser_core.store.objects.port import ObjectInfo, unwatched
from ser_core.store.objects.retry import Retry, Transient, bounded
from ser_core.store.objects.s3_answers import ADDRESS, PART_MIB, Answer, meaning, no_conditional_writes, unanswered
from ser_core.store.objects.s3_client import WORKERS

PART_BYTES = PART_MIB * 1024 * 1024
"""Size of a part; S3 allows 10,000 of at least 5 MiB."""
MAX_PARTS = 10_000
SLOWEST_BYTES = 64 * 1024
"""Of a body that comes, in a second, beside the deadline of the request."""
_READS = ("get_object", "head_object")
_EXISTS = frozenset({"412", "PreconditionFailed"})

Wanted = TypeVar("Wanted")


class S3Store:
    """Objects in ``bucket`` below ``prefix``.

    Args:
        client: From `s3_client`.
        bucket: Name of the bucket.
        prefix: Key prefix without slashes at its ends; may be empty.
        retry: Deadline of every single operation.
        part_bytes: Files larger than this travel in parallel parts of this size.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, retry: Retry | None = None, part_bytes: int = PART_BYTES) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry = retry or Retry()
        self._part_bytes = part_bytes

    def uri(self, key: str) -> str:
        """``s3://`` URI of ``key``."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def key(self, uri: str) -> str:
        """Key of a URI made by `uri`."""
        if not uri.startswith(self.uri("")):
            raise SpecError(f"{uri!r} lies outside the store {self.uri('')}", hint="the run's store must not be moved while it runs")
        return uri.removeprefix(self.uri(""))

    def create(self, key: str, data: bytes) -> bool:
        """One PUT with ``If-None-Match: *``.

        Raises:
            SpecError: The server knows no such writes (reason `StoreLacksConditionalWrites`).
        """
        try:
            self._call("put_object", key, Body=data, IfNoneMatch="*")
        except ClientError:  # no other than this one comes untranslated
            return False
        except StoreRefused as error:
            refused = error.__cause__
            known = no_conditional_writes(Answer.of(refused), f"create of {self.uri(key)}") if isinstance(refused, ClientError) else None
            raise known or error from refused
        return True

    def put(self, key: str, data: bytes) -> None:
        """One PUT."""
        self._call("put_object", key, Body=data)

    def get(self, key: str) -> bytes:
        """One GET."""
        return self._read(key, None)

    def beginning(self, key: str, length: int) -> bytes:
        """One ranged GET."""
        return self._read(key, f"bytes=0-{length - 1}")

    def age(self, key: str) -> float:
        """One HEAD: the answer bears the moment of the write and that of the answer."""
        answer = self._about(key)
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(said) if said else datetime.now(UTC)
        written: datetime = answer["LastModified"]
        return max(0.0, (now - written).total_seconds())

    def upload(self, key: str, path: Path, alive: Callable[[], None] = unwatched) -> None:
        """One PUT for a small file, else parallel parts; an upload that fails is aborted, so that no parts are left to be paid for."""
        size = path.stat().st_size
        if size <= self._part_bytes:
            self.put(key, path.read_bytes())
            alive()
            return
        part_bytes = max(self._part_bytes, -(-size // MAX_PARTS))
        upload_id = self._call("create_multipart_upload", key)["UploadId"]
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                numbers = range(1, -(-size // part_bytes) + 1)
                parts = list(pool.map(lambda number: self._upload_part(key, path, upload_id, number, part_bytes, alive), numbers))
            self._complete(key, upload_id, parts, size)
        except BaseException:
            with contextlib.suppress(ClientError, BotoCoreError, OSError):  # once: a store that is away was waited for already
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id)
            raise

    def download(self, key: str, path: Path, alive: Callable[[], None] = unwatched) -> None:
        """Ranged GETs in parallel into a temporary file beside ``path``, which is then renamed."""
        size = int(self._about(key)["ContentLength"])
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".part-{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file:
                file.truncate(size)
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(lambda start: self._download_part(key, temporary, start, size, alive), range(0, size, self._part_bytes)))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key starts with ``prefix``, page by page."""
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                yield ObjectInfo(entry["Key"].removeprefix(self._prefix), entry["Size"], entry["LastModified"].timestamp())

    def folders(self, prefix: str) -> Iterator[str]:
        """Common prefixes directly below ``prefix``, page by page."""
        for page in self._pages(prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                yield entry["Prefix"].removeprefix(self._prefix).removeprefix(prefix).rstrip("/")

    def _pages(self, prefix: str, **more: str) -> Iterator[Any]:
        ask = functools.partial(self._client.list_objects_v2, **more)
        return self._listed(ask, prefix, f"listing {self.uri(prefix)}", "ContinuationToken")

    def _listed(self, ask: Callable[..., Any], prefix: str, what: str, *markers: str) -> Iterator[Any]:
        """Page by page what ``ask`` answers; ``markers`` name where the next page begins."""
        place: dict[str, str] = {}
        while True:
            asked = functools.partial(ask, Bucket=self._bucket, Prefix=self._prefix + prefix, **place)
            page = self._request(functools.partial(bounded, asked, self._longest), what)
            if not page.keys() & {"IsTruncated", "KeyCount", "Name"}:  # a page of HTML, which would pass for an empty store
                not_s3 = f"this is no answer of S3: {ADDRESS}"
                raise StoreRefused(f"{what}: the answer is no listing", reason="StoreMisaddressed", hint=not_s3)
            yield page
            if not page.get("IsTruncated"):
                return
            before, place = place, {marker: page[f"Next{marker}"] for marker in markers if page.get(f"Next{marker}")}
            if place in ({}, before):
                raise StoreRefused(f"{what}: there is more, says the server, but not where", hint="tell the makers of the server")

    def abandon(self, prefix: str) -> int:
        """Abort multipart uploads that nobody has finished; their parts are paid for, and no listing shows them."""
        try:
            uploads = [(entry["Key"], entry["UploadId"]) for page in self._uploads(prefix) for entry in page.get("Uploads", ())]
        except StoreRefused:  # the server knows no such list
            return 0
        for key, upload in uploads:
            with contextlib.suppress(StoreRefused):  # it was finished in between
                self._call("abort_multipart_upload", key.removeprefix(self._prefix), UploadId=upload)
        return len(uploads)

    def _uploads(self, prefix: str) -> Iterator[Any]:
        what = f"listing the uploads of {self.uri(prefix)}"
        return self._listed(self._client.list_multipart_uploads, prefix, what, "KeyMarker", "UploadIdMarker")

    def delete(self, key: str) -> None:
        """One DELETE. Some servers say that there is nothing to delete."""
        with contextlib.suppress(ObjectNotFound):
            self._call("delete_object", key)

    def _about(self, key: str) -> Any:
        """One HEAD."""
        answer = self._call("head_object", key)
        if not {"ContentLength", "LastModified"} <= answer.keys():  # a proxy's page, which would pass for an object
            not_s3 = f"this is no answer of S3: {ADDRESS}"
            raise StoreRefused(f"head_object of {self.uri(key)}: the answer tells of no object", reason="StoreMisaddressed", hint=not_s3)
        return answer

    def _upload_part(self, key: str, path: Path, upload_id: str, number: int, part_bytes: int, alive: Callable[[], None]) -> dict[str, Any]:
        with path.open("rb") as file:
            file.seek((number - 1) * part_bytes)
            body = file.read(part_bytes)
        answer = self._call("upload_part", key, UploadId=upload_id, PartNumber=number, Body=body)
        alive()
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def _complete(self, key: str, upload_id: str, parts: Sequence[dict[str, Any]], size: int) -> None:
        """Make an object of its parts. A server may take longer than a client waits; asked again, some know the upload no more."""
        try:
            self._call("complete_multipart_upload", key, UploadId=upload_id, MultipartUpload={"Parts": parts})
        except StoreRefused as error:
            refused = error.__cause__
            if not isinstance(refused, ClientError) or Answer.of(refused).code != "NoSuchUpload" or self._size(key) != size:
                raise

    def _size(self, key: str) -> int | None:
        """Bytes of an object; None: there is none."""
        try:
            return int(self._about(key)["ContentLength"])
        except ObjectNotFound:
            return None

    def _download_part(self, key: str, path: Path, start: int, size: int, alive: Callable[[], None]) -> None:
        end = min(start + self._part_bytes, size)
        content = self._read(key, f"bytes={start}-{end - 1}")
        if len(content) != end - start:
            raise StoreError(f"{self.uri(key)} changed while it was read", reason="ObjectChanged")
        with path.open("rb+") as file:
            file.seek(start)
            file.write(content)
        alive()

    def _read(self, key: str, byte_range: str | None) -> bytes:
        extra = {"Range": byte_range} if byte_range else {}
        body: list[Any] = []

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **extra)
            body.append(answer)
            content: bytes = answer["Body"].read()
            return content

        def allowed() -> float:
            size = int(body[-1].get("ContentLength") or 0) if body else 0
            return self._longest() + size / SLOWEST_BYTES

        return self._request(lambda: bounded(read, allowed), f"reading {self.uri(key)}", reads=True)

    def _longest(self) -> float:
        """Seconds that an answer without a large body may take."""
        return max(self._retry.deadline_seconds, self._retry.try_seconds)

    def _call(self, operation: str, key: str, **arguments: Any) -> Any:
        method = getattr(self._client, operation)
        what = f"{operation} of {self.uri(key)}"
        if "Body" in arguments:
            arguments["ContentMD5"] = _md5(arguments["Body"])
        send = functools.partial(method, Bucket=self._bucket, Key=self._prefix + key, **arguments)
        return self._request(send, what, reads=operation in _READS, creates="IfNoneMatch" in arguments)

    def _request(self, send: Callable[[], Wanted], what: str, *, reads: bool = False, creates: bool = False) -> Wanted:
        def once() -> Wanted:
            try:
                return send()
            except ClientError as error:
                if creates and Answer.of(error).code in _EXISTS:
                    raise  # the caller reads back who was first
                raise self._translated(error, what, reads=reads) from error
            except (NoCredentialsError, PartialCredentialsError) as error:
                raise StoreAccessDenied(
                    f"{what}: {error}", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
                ) from error
            except (BotoCoreError, OSError, ValueError) as error:  # botocore reads a header as a number that is none
                raise unanswered(str(error), what) or Transient(str(error)) from error

        return self._retry.call(once, what)

    def _translated(self, error: ClientError, what: str, *, reads: bool) -> Exception:
        answer = Answer.of(error)
        return meaning(answer, what, self._bucket, reads=reads) or Transient(answer.told)


def _md5(body: bytes) -> str:
    """The checksum that every server knows. A bucket with Object Lock and a default retention takes no content without one."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
