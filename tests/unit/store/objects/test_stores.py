"""What both stores promise."""

import base64
import contextlib
import errno
import io
import multiprocessing
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError

from ser_core.errors import BucketNotFound, ObjectNotFound, SpecError, StoreAccessDenied, StoreError
from ser_core.store.objects.file import FileStore
from ser_core.store.objects.retry import Retry
from ser_core.store.objects.s3 import S3Store
from ser_core.store.objects.s3_client import s3_client

SOON = Retry(deadline_seconds=2, base_seconds=0.01, cap_seconds=0.02)
"""For what fails whenever it is tried."""


def test_what_is_put_is_read(store):
    store.put("a/b", b"one")
    store.put("a/b", b"two")
    assert store.get("a/b") == b"two"


def test_create_refuses_an_existing_key(store):
    assert store.create("key", b"first")
    assert not store.create("key", b"second")
    assert store.get("key") == b"first"


def test_the_secret_key_is_in_no_request(s3_endpoint, bucket, tmp_path, monkeypatch):
    secret, sent = "a-key-that-nobody-sees", []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    client = s3_client(s3_endpoint, None, None)
    client.meta.events.register("before-send.s3.*", lambda request, **_: sent.append(f"{request.url} {request.headers} {request.body}"))
    store = S3Store(client, bucket, "", SOON)
    store.create("a", b"1")
    store.get("a")
    store.delete("a")
    assert len(sent) == 3
    assert not [request for request in sent if secret in request]


@pytest.mark.parametrize("read", ["get", "download"])
def test_an_absent_key_is_not_found(store, tmp_path, read):
    with pytest.raises(ObjectNotFound, match="absent"):
        store.get("absent") if read == "get" else store.download("absent", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("size", [0, 1, 5 * 1024 * 1024 + 1, 11 * 1024 * 1024])
def test_files_of_any_size_travel_both_ways(store, tmp_path, size):
    source = tmp_path / "source"
    source.write_bytes(bytes(index % 251 for index in range(size)) if size < 100 else (b"0123456789abcde" * (size // 15 + 1))[:size])
    store.upload("big", source)
    store.download("big", tmp_path / "copy" / "big")
    assert (tmp_path / "copy" / "big").read_bytes() == source.read_bytes()
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["big"]


def test_listing_is_by_prefix_and_in_order(store):
    for key in ("hh/b", "hh/a/c", "hh-small/a"):
        store.put(key, b"12")
    assert [(found.key, found.size) for found in store.list("hh/")] == [("hh/a/c", 2), ("hh/b", 2)]


def test_delete_removes_and_bears_repetition(store):
    store.put("a/b/c", b"")
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert list(store.list("")) == []


def test_uris_lead_back_to_keys_and_others_are_refused(store):
    assert store.key(store.uri("a/b")) == "a/b"
    with pytest.raises(SpecError, match="outside the store"):
        store.key("s3://elsewhere/a/b")


def test_one_of_many_racing_threads_creates(store):
    for round_number in range(5):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda writer, key=f"race-{round_number}": store.create(key, str(writer).encode()), range(8)))
        assert won.count(True) == 1
        assert store.get(f"race-{round_number}") == str(won.index(True)).encode()


def _race(open_store, barrier, answers):
    store = open_store()
    for round_number in range(5):
        barrier.wait(60)
        answers.put((round_number, store.create(f"race-{round_number}", b"x")))


class OpenFile:
    def __init__(self, root):
        self.root = root

    def __call__(self):
        return FileStore(self.root)


class OpenS3:
    def __init__(self, endpoint, bucket):
        self.endpoint, self.bucket = endpoint, bucket

    def __call__(self):
        return S3Store(s3_client(self.endpoint, None, None), self.bucket, "")


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_one_of_many_racing_processes_creates(kind, request, tmp_path):
    opened = OpenFile(tmp_path) if kind == "file" else OpenS3(request.getfixturevalue("s3_endpoint"), request.getfixturevalue("bucket"))
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_race, args=(opened, barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=60) for _ in range(20)]
    for process in processes:
        process.join()
    assert sorted(round_number for round_number, won in got if won) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("key", ["../outside", "/absolute", "a//b", "a/./b", ""])
def test_a_key_cannot_leave_the_folder(tmp_path, key):
    with pytest.raises(SpecError, match="leaves the store"):
        FileStore(tmp_path / "store").put(key, b"")


def test_a_folder_that_can_never_be_made_is_named_and_not_waited_for():
    with pytest.raises(StoreAccessDenied, match="/proc/runs cannot be made"):
        FileStore(Path("/proc/runs")).create("key", b"")


def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.link", refuse)
    with pytest.raises(StoreAccessDenied, match="may not be accessed") as caught:
        FileStore(tmp_path).create("key", b"")
    assert caught.value.exit_code == 20


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_told(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.link", refuse)
    with pytest.raises(SpecError, match="has no hard links") as caught:
        FileStore(tmp_path).create("key", b"")
    assert caught.value.reason == "StoreLacksConditionalWrites"
    assert list(tmp_path.iterdir()) == []


class Failing:
    """An S3 client whose first ``times`` requests fail with ``code``."""

    def __init__(self, client, code, times):
        self._client, self._code, self.left = client, code, times

    def __getattr__(self, name):
        def request(**arguments):
            if self.left > 0:
                self.left -= 1
                raise ClientError({"Error": {"Code": self._code, "Message": "please wait"}}, name)
            return getattr(self._client, name)(**arguments)

        return request


def test_a_store_that_is_down_for_a_while_is_waited_for(s3_endpoint, bucket, s3_store):
    client = Failing(s3_client(s3_endpoint, None, None), "SlowDown", 3)
    S3Store(client, bucket, "some/prefix", s3_store._retry).put("key", b"x")
    assert s3_store.get("key") == b"x"


def test_a_store_that_stays_down_is_given_up_at_the_deadline():
    store = S3Store(Failing(None, "503", 10**9), "bucket", "", SOON)
    with pytest.raises(StoreError, match=r"put_object of s3://bucket/key failed \d+ times in \d s: HTTP 503: please wait") as caught:
        store.put("key", b"")
    assert (caught.value.reason, caught.value.exit_code) == ("StoreUnavailable", 20)


def test_a_store_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreAccessDenied, match="file/key") as caught:
        FileStore(tmp_path / "file").put("key", b"")
    assert caught.value.exit_code == 20
    assert "storage.uri" in caught.value.hint


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "ExpiredToken"])
def test_missing_rights_are_said_at_once(code):
    client = Failing(None, code, 10**9)
    with pytest.raises(StoreAccessDenied, match=code):
        S3Store(client, "bucket", "").get("key")
    assert client.left == 10**9 - 1


def test_a_bucket_that_does_not_exist_is_named(s3_endpoint):
    with pytest.raises(BucketNotFound, match="bucket 'no-such-bucket' does not exist"):
        S3Store(s3_client(s3_endpoint, None, None), "no-such-bucket", "").put("key", b"")


def test_a_failed_multipart_upload_leaves_no_parts(s3_endpoint, bucket, tmp_path):
    class NoParts(Failing):
        def __getattr__(self, name):
            self.left = 10**9 if name == "upload_part" else 0
            return super().__getattr__(name)

    client = s3_client(s3_endpoint, None, None)
    (tmp_path / "big").write_bytes(bytes(6 * 1024 * 1024))
    with pytest.raises(StoreError):
        S3Store(NoParts(client, "503", 0), bucket, "", SOON, part_bytes=5 * 1024 * 1024).upload("big", tmp_path / "big")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("done", [True, False], ids=["done", "aborted by somebody"])
def test_an_upload_that_a_server_knows_no_more_is_done_if_its_object_is_there(s3_endpoint, bucket, tmp_path, done):
    client = s3_client(s3_endpoint, None, None)

    class Slow:
        """Its first answer to the end of an upload comes too late."""

        asked = 0

        def __getattr__(self, name):
            return getattr(client, name)

        def complete_multipart_upload(self, **arguments):
            self.asked += 1
            if self.asked > 1:
                raise ClientError({"Error": {"Code": "NoSuchUpload"}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "complete")
            if done:
                client.complete_multipart_upload(**arguments)
            raise ReadTimeoutError(endpoint_url=s3_endpoint)

    (tmp_path / "big").write_bytes(bytes(6 * 1024 * 1024))
    with contextlib.nullcontext() if done else pytest.raises(StoreError, match="NoSuchUpload"):
        S3Store(Slow(), bucket, "", SOON, part_bytes=5 * 1024 * 1024).upload("big", tmp_path / "big")
    assert [one.key for one in S3Store(client, bucket, "").list("")] == (["big"] if done else [])


def test_each_part_of_a_large_file_is_a_sign_of_life(s3_endpoint, bucket, tmp_path):
    store, signs = S3Store(s3_client(s3_endpoint, None, None), bucket, "", SOON, part_bytes=5 * 1024 * 1024), []
    (tmp_path / "big").write_bytes(bytes(11 * 1024 * 1024))
    store.upload("big", tmp_path / "big", lambda: signs.append("up"))
    store.download("big", tmp_path / "again", lambda: signs.append("down"))
    assert signs == ["up"] * 3 + ["down"] * 3


def test_the_beginning_of_an_object_is_read_without_the_rest(store):
    store.put("object", b"a long content")
    assert store.beginning("object", 6) == b"a long"
    assert store.beginning("object", 100) == b"a long content"
    with pytest.raises(ObjectNotFound):
        store.beginning("absent", 6)


def test_whatever_is_written_has_a_checksum_as_buckets_with_a_default_retention_want_it(s3_endpoint, bucket, tmp_path):
    sent = []
    client = s3_client(s3_endpoint, None, None)
    client.meta.events.register("before-send.s3.*", lambda request, **_: sent.append(request) if request.method == "PUT" else None)
    store = S3Store(client, bucket, "", SOON, part_bytes=5 * 1024 * 1024)
    (tmp_path / "big").write_bytes(bytes(6 * 1024 * 1024))
    store.put("a", b"1")
    store.create("b", b"1")
    store.upload("c", tmp_path / "big")

    assert ["Content-MD5" in request.headers for request in sent] == [True] * 4


class _Answer(io.BytesIO):
    def stream(self, size, **_):
        while part := self.read(size):
            yield part


def test_an_answer_that_was_damaged_on_its_way_is_asked_for_again(s3_endpoint, bucket):
    client = s3_client(s3_endpoint, None, None)
    store = S3Store(client, bucket, "")
    store.put("key", b"right")
    headers = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"right").to_bytes(4, "big")).decode(), "content-length": "5"}
    damaged = [AWSResponse(f"{s3_endpoint}/{bucket}/key", 200, headers, _Answer(b"wrong"))]
    client.meta.events.register("before-send.s3.GetObject", lambda **_: damaged.pop() if damaged else None)
    assert store.get("key") == b"right"
    assert not damaged


def test_a_folder_that_goes_while_its_store_is_listed_is_no_error(tmp_path, monkeypatch):
    store = FileStore(tmp_path)
    for key in ("a/1", "b/2"):
        store.put(key, b"x")
    entries = os.scandir

    def remove_before(folder):
        if Path(folder).name == "b":
            store.delete("b/2")
        return entries(folder)

    monkeypatch.setattr(os, "scandir", remove_before)
    assert [one.key for one in store.list("")] == ["a/1"]
