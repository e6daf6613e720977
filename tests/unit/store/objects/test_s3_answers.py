"""What servers and proxies in the wild answer: told at once with the status and what helps, or waited for."""

import http.server
import threading
import time

import pytest

from ser_core.api.spec.storage import StorageSpec
from ser_core.errors import BucketNotFound, ObjectNotFound, SpecError, StoreAccessDenied, StoreError, StoreRefused
from ser_core.store.objects.connect import connect
from ser_core.store.objects.retry import Retry
from ser_core.store.objects.s3 import S3Store
from ser_core.store.objects.s3_answers import Answer, meaning, no_conditional_writes, unanswered
from ser_core.store.objects.s3_client import s3_client

PATIENT = Retry(deadline_seconds=60, base_seconds=0.01, cap_seconds=0.02)
ONE_SECOND = Retry(deadline_seconds=1, base_seconds=0.01, cap_seconds=0.02)
NEVER_AGAIN = Retry(sleep=lambda _: pytest.fail("waits for what does not change"))


def xml(code, message="", more=""):
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()


NGINX_413 = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
WILD = {
    "another region, told in words": (
        (400, {}, xml("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-central-1'")),
        ("StoreMisaddressed", "HTTP 400 AuthorizationHeaderMalformed", "storage.region: eu-central-1"),
    ),
    "another region, in a header": (
        (301, {"x-amz-bucket-region": "eu-west-3"}, xml("PermanentRedirect", "use another endpoint")),
        ("StoreMisaddressed", "HTTP 301 PermanentRedirect", "storage.region: eu-west-3"),
    ),
    "sent on to TLS": (
        (301, {"Location": "https://s3.example/bucket/key"}, b"<html>moved</html>"),
        ("StoreMisaddressed", "HTTP 301", "storage.endpoint: https://s3.example"),
    ),
    "sent on by an ingress": (
        (308, {"Location": "https://s3.example:9000/bucket/key"}, b""),
        ("StoreMisaddressed", "HTTP 308", "storage.endpoint: https://s3.example:9000"),
    ),
    "no path style": ((403, {}, xml("SecondLevelDomainForbidden")), ("StoreMisaddressed", "HTTP 403", "storage.addressing: virtual")),
    "plain HTTP to a TLS port": (
        (400, {}, b"Client sent an HTTP request to an HTTPS server.\n"),
        ("StoreMisaddressed", "HTTP 400", "https:// where it speaks TLS"),
    ),
    "no S3 at all": ((404, {}, b"<html>not here</html>"), ("StoreMisaddressed", "HTTP 404", "the address of the S3 API")),
    "a web server": (
        (405, {"Allow": "GET"}, b"<html>405 Not Allowed</html>"),
        ("StoreMisaddressed", "HTTP 405", "a proxy must let them pass"),
    ),
    "a proxy's limit": ((413, {}, NGINX_413), ("RequestTooLarge", "HTTP 413", "client_max_body_size 17m")),
    "a proxy that wants credentials": ((407, {}, b"proxy"), ("StoreMisaddressed", "HTTP 407", "NO_PROXY")),
    "a condition that nobody set": (
        (412, {}, xml("PreconditionFailed")),
        ("StoreRefused", "HTTP 412 PreconditionFailed", "server's answer"),
    ),
    "the store's limit": ((400, {}, xml("EntityTooLarge")), ("RequestTooLarge", "HTTP 400 EntityTooLarge", "16 MiB")),
    "the clock": ((403, {}, xml("RequestTimeTooSkewed")), ("ClockSkewed", "HTTP 403", "the server's says")),
    "a quota of Ceph": ((403, {}, xml("QuotaExceeded")), ("StoreFull", "HTTP 403 QuotaExceeded", "raise the quota")),
    "a quota of MinIO": ((400, {}, xml("XMinioAdminBucketQuotaExceeded")), ("StoreFull", "HTTP 400", "raise the quota")),
    "a full disk": ((507, {}, xml("XMinioStorageFull")), ("StoreFull", "HTTP 507", "free space")),
    "an unknown key": ((403, {}, xml("InvalidAccessKeyId")), ("StoreAccessDenied", "HTTP 403 InvalidAccessKeyId", "AWS_ACCESS_KEY_ID")),
    "a wrong key": ((403, {}, xml("SignatureDoesNotMatch")), ("StoreAccessDenied", "HTTP 403", "AWS_SECRET_ACCESS_KEY")),
    "an old token": ((400, {}, xml("ExpiredToken")), ("StoreAccessDenied", "HTTP 400 ExpiredToken", "AWS_SESSION_TOKEN")),
    "a proxy that forbids": ((403, {}, b"<html>Forbidden</html>"), ("StoreAccessDenied", "HTTP 403", "read, write, list and delete")),
    "a key of encryption": (
        (400, {}, xml("KMS.DisabledException", "the key is disabled")),
        ("StoreRefused", "the key is disabled", "waiting"),
    ),
    "no bucket": ((404, {}, xml("NoSuchBucket")), ("BucketNotFound", "bucket 'runs_of_us' does not exist", "create the bucket")),
}


@pytest.fixture(scope="module")
def listening():
    """A server on loopback that answers every request with what its ``answer`` says, and a client of it; counts the requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            started.requests.append(self.command)
            status, headers, body = started.answer()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                for piece in [body] if isinstance(body, bytes) else body:
                    self.wfile.write(piece)

        do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = handle_any

        def log_message(self, *_):
            pass

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        started = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        started.daemon_threads = True
        threading.Thread(target=started.serve_forever, daemon=True).start()
        started.client = s3_client(f"http://127.0.0.1:{started.server_port}", None, None)
        yield started
    started.shutdown()
    started.server_close()


@pytest.fixture
def server(listening):
    listening.requests = []
    return listening


def opened(server, retry=NEVER_AGAIN):
    return S3Store(server.client, "runs_of_us", "x", retry)


@pytest.mark.parametrize("name", WILD)
def test_an_answer_that_does_not_change_is_told_at_once(server, name):
    answer, (reason, told, helps) = WILD[name]
    server.answer = lambda: answer

    with pytest.raises(StoreError) as caught:
        opened(server).put("key", b"x")

    assert (caught.value.reason, caught.value.exit_code) == (reason, 20)
    assert told in caught.value.message
    assert helps in caught.value.hint


def test_a_server_that_sends_every_request_on_to_tls_is_not_waited_for(server):
    server.answer = lambda: (307, {"Location": "https://127.0.0.1/runs_of_us/x/key"}, xml("TemporaryRedirect"))
    with pytest.raises(StoreRefused) as caught:
        opened(server).put("key", b"x")
    assert "storage.endpoint: https://127.0.0.1" in caught.value.hint


def test_a_page_in_place_of_an_object_is_no_object(server, tmp_path):
    server.answer = lambda: (200, {}, b"<html>sign in</html>")
    for ask in (lambda store: store.age("key"), lambda store: store.download("key", tmp_path / "copy")):
        with pytest.raises(StoreRefused, match="the answer tells of no object"):
            ask(opened(server))


def test_a_header_that_is_no_number_may_pass(server, monkeypatch):
    monkeypatch.setattr(server.client, "get_object", lambda **_: int("Content-Length: many"))  # as urllib3 reads it
    with pytest.raises(StoreError) as caught:
        opened(server, ONE_SECOND).get("key")
    assert caught.value.reason == "StoreUnavailable"


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (500, "InternalError"), (502, ""), (429, ""), (400, "RequestTimeout"), (409, "ConditionalRequestConflict")],
)
def test_an_answer_that_may_pass_is_waited_for(server, status, code):
    answers = iter([(status, {}, xml(code) if code else b""), (200, {}, b"")])
    server.answer = lambda: next(answers)
    opened(server, PATIENT).put("key", b"x")
    assert server.requests == ["PUT", "PUT"]


def test_what_is_given_up_tells_the_status(server):
    server.answer = lambda: (503, {}, xml("SlowDown", "please wait"))
    with pytest.raises(StoreError, match=r"HTTP 503 SlowDown: please wait") as caught:
        opened(server, ONE_SECOND).put("key", b"x")
    assert caught.value.reason == "StoreUnavailable"


def test_a_web_server_that_is_glad_about_everything_is_no_empty_store(server):
    server.answer = lambda: (200, {"Content-Type": "text/html"}, b"<html><body>welcome</body></html>")
    with pytest.raises(StoreRefused, match="the answer is no listing") as refused:
        list(opened(server).list(""))
    assert refused.value.reason == "StoreMisaddressed"


@pytest.mark.parametrize("more", ["", "<NextContinuationToken>again</NextContinuationToken>"], ids=["nowhere", "at the same place"])
def test_a_listing_that_does_not_come_to_its_end_is_refused(server, more):
    server.answer = lambda: (200, {}, f"<ListBucketResult><IsTruncated>true</IsTruncated>{more}</ListBucketResult>".encode())
    with pytest.raises(StoreRefused, match="there is more, says the server, but not where"):
        list(opened(server).list(""))


def test_a_missing_object_is_none_of_a_wrong_address(server):
    server.answer = lambda: (404, {}, xml("NoSuchKey"))
    with pytest.raises(ObjectNotFound):
        opened(server).get("key")
    opened(server).delete("key")


@pytest.mark.parametrize(("status", "code", "message"), [(501, "NotImplemented", ""), (400, "InvalidArgument", "If-None-Match is unknown")])
def test_a_server_without_conditional_writes_is_told_by_what_it_lacks(server, status, code, message):
    server.answer = lambda: (status, {}, xml(code, message))
    with pytest.raises(SpecError) as caught:
        opened(server).create("key", b"x")
    assert caught.value.reason == "StoreLacksConditionalWrites"


def test_no_other_refusal_of_a_conditional_write_is_taken_for_a_lack():
    assert no_conditional_writes(Answer(409, "ConditionalRequestConflict", "If-None-Match"), "x") is None
    assert no_conditional_writes(Answer(400, "InvalidRequest", "no such storage class"), "x") is None


def drops(size):
    """A body of which a byte comes every 50 ms."""
    for _ in range(size):
        time.sleep(0.05)
        yield b"x"


class Drops:
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __iter__(self):
        return drops(self.size)


@pytest.mark.parametrize("ask", [lambda store: store.get("key"), lambda store: list(store.list(""))], ids=["object", "listing"])
def test_a_body_that_comes_too_slowly_is_given_up(server, ask):
    server.answer = lambda: (200, {}, Drops(10_000))
    with pytest.raises(StoreError, match="comes too slowly") as caught:
        ask(opened(server, ONE_SECOND))
    assert caught.value.reason == "StoreUnavailable"
    assert server.requests == ["GET"]


def test_a_body_that_is_slow_but_comes_is_read(server):
    server.answer = lambda: (200, {}, Drops(3))
    assert opened(server, ONE_SECOND).get("key") == b"xxx"


def test_a_silent_server_is_tried_twice_before_the_deadline_of_a_command():
    assert Retry(deadline_seconds=20).try_seconds == 10
    assert Retry().try_seconds == 60


@pytest.mark.parametrize(
    ("fields", "sent_to", "path"),
    [
        ({}, "127.0.0.1", "/pairs/x/key"),
        ({"addressing": "path"}, "127.0.0.1", "/pairs/x/key"),
        ({"addressing": "virtual"}, "pairs.s3.test", "/x/key"),
    ],
)
def test_the_bucket_stands_where_addressing_says(fields, sent_to, path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    endpoint = "http://s3.test" if fields.get("addressing") == "virtual" else "http://127.0.0.1"
    store = connect(StorageSpec.model_validate({"uri": "s3://pairs/x", "endpoint": endpoint, "region": "RegionOne", **fields}))
    url = store._client.generate_presigned_url("get_object", Params={"Bucket": "pairs", "Key": "x/key"})
    assert url.startswith(f"http://{sent_to}{path}?")


TLS = {
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate": ("StoreNotTrusted", "storage.caBundle"),
    "certificate verify failed: certificate has expired (_ssl.c:1006)": ("StoreNotTrusted", "renew"),
    "certificate verify failed: certificate is not yet valid (_ssl.c:1006)": ("StoreNotTrusted", "clock"),
    "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version": ("StoreMisaddressed", "TLS 1.2"),
    "certificate verify failed: Hostname mismatch, certificate is not valid for 'a'": ("StoreNotTrusted", "storage.endpoint"),
    "SSL validation failed: no appropriate subjectAltName fields were found": ("StoreNotTrusted", "storage.endpoint"),
    "[SSL: WRONG_VERSION_NUMBER] wrong version number": ("StoreMisaddressed", "http://"),
    "invalid XML received: b'<!DOCTYPE html><html>'": ("StoreMisaddressed", "the address of the S3 API"),
}


@pytest.mark.parametrize("problem", TLS)
def test_a_connection_that_will_never_be_is_told_at_once(problem):
    found = unanswered(problem, "listing s3://a/")
    assert found.reason == TLS[problem][0]
    assert TLS[problem][1] in found.hint
    assert unanswered("Connection refused", "listing s3://a/") is None


@pytest.mark.parametrize(("content", "wrong"), [(None, "No such file"), (b"", "no certificate"), (b"no PEM", "no certificate")])
def test_authorities_that_cannot_be_read_are_named(tmp_path, content, wrong):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreRefused, match=wrong) as caught:
        connect(StorageSpec.model_validate({"uri": "s3://pairs/x", "endpoint": "https://s3.test", "caBundle": str(path)}))
    assert caught.value.reason == "StoreNotTrusted"
    assert str(path) in caught.value.message


def test_what_nobody_knows_is_waited_for_where_it_is_the_servers_fault_and_else_told():
    assert meaning(Answer(599, "Odd", ""), "x", "b", reads=False) is None
    assert isinstance(meaning(Answer(418, "Teapot", "short and stout"), "x", "b", reads=False), StoreRefused)
    assert isinstance(meaning(Answer(0, "AccessDenied", ""), "x", "b", reads=False), StoreAccessDenied)
    assert isinstance(meaning(Answer(404, "NoSuchBucket", ""), "x", "b", reads=True), BucketNotFound)
