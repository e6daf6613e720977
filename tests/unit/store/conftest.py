"""Both stores: a folder, and S3 as served by moto on a loopback port."""

import threading
import uuid

import boto3
import pytest

from ser_core.api.stage import RunIdentity
from ser_core.store.objects.file import FileStore
from ser_core.store.objects.retry import Retry
from ser_core.store.objects.s3 import S3Store
from ser_core.store.objects.s3_client import s3_client

PATIENT = Retry(deadline_seconds=60, base_seconds=0.01, cap_seconds=0.02)


@pytest.fixture(scope="session")
def s3_endpoint():
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def serialised(environ, start_response):
        # moto checks If-None-Match and stores in two steps; a real server does both in one.
        with one_at_a_time:
            return application(environ, start_response)

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        server = make_server("127.0.0.1", 0, serialised, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def bucket(s3_endpoint):
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1").create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_store(s3_endpoint, bucket):
    return S3Store(s3_client(s3_endpoint, None, None), bucket, "some/prefix", PATIENT, part_bytes=5 * 1024 * 1024)


@pytest.fixture(params=["file", "s3"])
def store(request, tmp_path):
    return FileStore(tmp_path / "store") if request.param == "file" else request.getfixturevalue("s3_store")


@pytest.fixture
def identity():
    return RunIdentity(namespace="default", name="hh", uid=uuid.uuid4().hex)


class Killed(BaseException):
    """Stands for SIGKILL."""


class FaultyStore:
    """Fails one operation: killed before it, killed after it, or its answer replaced."""

    def __init__(self, store, *, kill_at=None, after=False, answers=None):
        self._store, self._kill_at, self._after, self._answers = store, kill_at, after, answers or {}
        self._lock = threading.Lock()
        self.count = 0

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name in ("uri", "key"):
            return method

        def operation(*arguments):
            with self._lock:
                number, self.count = self.count, self.count + 1
            dead = self._kill_at is not None and (number > self._kill_at or (number == self._kill_at and not self._after))
            if dead:
                raise Killed
            answer = method(*arguments)
            if number == self._kill_at:
                raise Killed
            return self._answers.get(name, lambda *_: answer)(*arguments)

        return operation


@pytest.fixture
def faulty():
    return FaultyStore


@pytest.fixture
def killed():
    return Killed
