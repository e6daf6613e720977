"""A hub that is too slow, too busy, cuts off, lies, or leads astray. Each server does one thing, on loopback."""

import hashlib
import json
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ser_core.api.spec.storage import HubSpec
from ser_core.api.stage_wire import HUB_CREDENTIALS
from ser_core.data.reading.hub import answers
from ser_core.data.reading.hub.answers import Hub, seconds_to_wait
from ser_core.data.reading.hub.places import Place, may_lead, place_of, place_of_host, place_of_name
from ser_core.data.reading.hub.repository import open_repository
from ser_core.data.reading.hub.watch import Patience
from ser_core.errors import SERError, SpecError, StoreError

COMMIT = "c0ffee" + "0" * 34
CONTENT = bytes(range(256)) * 40
PATIENT = Patience(tries=3, first_wait=0, longest_wait=5)
IMPATIENT = Patience(window=0.3)
LISTS = (
    b"[]",
    b"<html>",
    b"[" * 100_000,
    b"{}",
    b'{"siblings": [{"rfilename": 5}], "sha": "c0ffee0"}',
    b'{"siblings": 5, "sha": "c0ffee0"}',
)
FILE = f"/org/model/resolve/{COMMIT}/model.safetensors"


@pytest.fixture
def hub(monkeypatch):
    """A hub of one file: ``declares`` is what its list says of it, ``answers`` what each request for it is told, in turn."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    stop, servers = threading.Event(), []

    def start(*told, declares=None, listing=None, sha=COMMIT, patience=PATIENT, revision=None):
        heard = []
        files = [{"rfilename": "model.safetensors", **(declares if declares is not None else {"size": len(CONTENT)})}]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.startswith("/api/"):
                    (listing or whole)(self, json.dumps({"sha": sha, "siblings": files}).encode())
                    return
                heard.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
                told[min(len(heard), len(told)) - 1](self, CONTENT)

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.stopped, server.daemon_threads = stop, True
        servers.append((server, threading.Thread(target=server.serve_forever, args=(0.05,))))
        servers[-1][1].start()
        spec = HubSpec(endpoint=f"http://127.0.0.1:{server.server_port}")
        return lambda: open_repository("hf://org/model", spec, "model", revision, patience), heard

    yield start
    stop.set()
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(request, status, content=b"", **headers):
    request.send_response(status)
    for name, value in {"Content-Length": len(content), **headers}.items():
        request.send_header(name.replace("_", "-"), str(value))
    request.end_headers()
    request.wfile.write(content)


def whole(request, content):
    answer(request, 200, content)


def drip(request, content):
    """A byte in good time, for ever."""
    request.send_response(200)
    request.send_header("Content-Length", "1000000000")
    request.end_headers()
    while not request.server.stopped.wait(0.02):
        request.wfile.write(b"x")


def drip_headers(request, content):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not request.server.stopped.wait(0.02):
        request.wfile.write(b"x")


def cut_off(request, content):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[:1000])


def rest(request, content):
    begin = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
    answer(request, 206, content[begin:], Content_Range=f"bytes {begin}-{len(content) - 1}/{len(content)}")


def busy(status, **headers):
    return lambda request, content: answer(request, status, b"", **headers)


def leads_to(location):
    return lambda request, content: answer(request, 302, b"", Location=location)


def fetched(opened, folder):
    return opened().fetch("model.safetensors", folder).read_bytes()


def refused(opened, folder, error=StoreError):
    with pytest.raises(error) as caught:
        opened().fetch("model.safetensors", folder)
    assert not [path for path in folder.rglob("*") if path.is_file()], "nothing of it is kept"
    assert (caught.value.hint is not None, f"model.safetensors of hf://org/model@{COMMIT}" in caught.value.message) == (True, True)
    return caught.value


@pytest.mark.parametrize("slow", [drip, drip_headers])
def test_a_server_that_drips_is_given_up(hub, slow, tmp_path):
    opened, _ = hub(slow)
    repository = opened()
    told = refused(lambda: replace(repository, hub=Hub(repository.hub.endpoint, IMPATIENT)), tmp_path)
    assert told.reason == "HubUnavailable"
    assert "in 0.3 s, where at least 1048576 must come" in told.message


def test_a_list_of_files_that_drips_is_given_up(hub):
    opened, _ = hub(whole, listing=drip, patience=IMPATIENT)
    with pytest.raises(StoreError, match="where at least") as caught:
        opened()
    assert caught.value.reason == "HubUnavailable"


@pytest.mark.parametrize("first", [busy(429, Retry_After=0), busy(503), busy(502), busy(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")])
def test_a_busy_hub_is_asked_again_within_the_attempt(hub, first, tmp_path):
    opened, heard = hub(first, whole)
    assert (fetched(opened, tmp_path), len(heard)) == (CONTENT, 2)


@pytest.mark.parametrize(("always", "tries"), [(busy(503), 3), (busy(429, Retry_After=6), 1), (busy(500), 1)])
def test_a_hub_that_stays_busy_or_asks_for_a_long_pause_is_left_to_the_next_attempt(hub, always, tries, tmp_path):
    opened, heard = hub(always)
    told = refused(opened, tmp_path)
    assert (told.reason, len(heard), "answers HTTP" in told.message) == ("HubUnavailable", tries, True)


def test_the_end_of_a_rate_limit_is_waited_for(hub, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    opened, _ = hub(busy(429, RateLimit='"resolvers";r=0;t=2', RateLimit_Policy='"fixed window";"resolvers";q=5000;w=300'), whole)
    assert (fetched(opened, tmp_path), waited) == (CONTENT, [3.0])


@pytest.mark.parametrize("code", ["", "GatedRepo"])
def test_why_the_hub_refuses_is_told_in_its_own_words(hub, code, tmp_path):
    words = "Please enable access to public gated repositories in your fine-grained token settings"
    opened, _ = hub(busy(403, X_Error_Message=words, **({"X_Error_Code": code} if code else {})))
    assert words in refused(opened, tmp_path, SpecError).message


def test_a_lost_connection_is_taken_up_where_it_was_lost(hub, tmp_path):
    opened, heard = hub(cut_off, rest)
    assert fetched(opened, tmp_path) == CONTENT
    assert [asked for _, asked, _ in heard] == [None, "bytes=1000-"]


def test_a_hub_that_knows_no_ranges_sends_all_of_it_again(hub, tmp_path):
    opened, _ = hub(cut_off, whole)
    assert fetched(opened, tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("declares", "said"),
    [
        ({"size": len(CONTENT) + 1}, f"declares {len(CONTENT) + 1} bytes, and {len(CONTENT)} came"),
        ({"size": 9}, "declares 9 bytes, and more came"),
        ({"size": len(CONTENT), "lfs": {"sha256": "0" * 64}}, hashlib.sha256(CONTENT).hexdigest()),
    ],
)
def test_what_is_not_as_declared_is_refused_with_both(hub, declares, said, tmp_path):
    opened, _ = hub(whole, declares=declares)
    told = refused(opened, tmp_path)
    assert (told.reason, said in told.message) == ("HubUnavailable", True)


def test_what_is_as_declared_is_taken_and_fetched_once(hub, tmp_path):
    opened, heard = hub(whole, declares={"size": len(CONTENT), "lfs": {"sha256": hashlib.sha256(CONTENT).hexdigest()}})
    assert fetched(opened, tmp_path) == fetched(opened, tmp_path) == CONTENT
    assert len(heard) == 1


@pytest.mark.parametrize("listing", [None, *(lambda request, _, told=told: whole(request, told) for told in LISTS)])
def test_a_list_that_is_none_is_refused(hub, listing):
    opened, _ = hub(whole, listing=listing, sha="../../etc")
    with pytest.raises(StoreError) as caught:
        opened()
    assert (caught.value.reason, bool(caught.value.hint)) == ("HubUnavailable", True)


def test_a_mirror_that_says_404_and_no_more_has_no_such_model(hub):
    opened, _ = hub(whole, listing=lambda request, _: answer(request, 404))
    with pytest.raises(SpecError) as caught:
        opened()
    assert (caught.value.reason, "hub.endpoint" in caught.value.hint) == ("ModelNotFound", True)
    assert "revision" not in str(caught.value)


def test_a_mirror_that_says_404_and_no_more_may_lack_the_revision(hub):
    opened, _ = hub(whole, listing=lambda request, _: answer(request, 404), revision="v9")
    with pytest.raises(SpecError, match="no such model, or no such revision of it, at") as caught:
        opened()
    assert caught.value.hint.startswith("check the name and the revision")


def test_no_redirect_leads_to_a_link_local_address(hub, tmp_path):
    opened, _ = hub(leads_to("http://169.254.169.254/latest/meta-data/iam"))
    told = refused(opened, tmp_path, SpecError)
    assert (told.reason, "169.254.169.254, which lies on a link-local address" in told.message) == ("HubRedirectRefused", True)


@pytest.mark.parametrize(
    "target",
    [
        *("file:///etc/passwd", "gopher://x/", "http:///x", "http://[::1", "http://10.0.0.1:99999/", "http://a:b@10.0.0.1/"),
        *("http://example.com\\@10.0.0.1/", "http://example.com/" + "x" * 9000),
    ],
)
def test_a_redirect_leads_to_web_addresses_alone(hub, target, tmp_path):
    opened, _ = hub(leads_to(target))
    assert refused(opened, tmp_path, SpecError).reason == "HubRedirectRefused"


def test_a_hub_on_the_internet_leads_to_no_private_server(hub, tmp_path, monkeypatch):
    internal, heard = hub(whole)
    port = internal().hub.endpoint.rpartition(":")[2]
    opened, _ = hub(leads_to(f"http://localhost:{port}{FILE}"))
    endpoint = opened().hub.endpoint
    monkeypatch.setattr(answers, "_place", lambda url: Place.INTERNET if url == endpoint else place_of_name("localhost"))
    told = refused(opened, tmp_path, SpecError)
    assert (told.reason, "localhost, which lies on this machine" in told.message, heard) == ("HubRedirectRefused", True, [])


def test_a_name_that_means_another_address_by_the_time_it_is_called_is_refused_too(hub, tmp_path, monkeypatch):
    internal, _ = hub(whole)
    port = internal().hub.endpoint.rpartition(":")[2]
    opened, _ = hub(leads_to(f"http://localhost:{port}{FILE}"))
    opened()
    monkeypatch.setattr(answers, "_place", lambda url: Place.INTERNET)
    assert refused(opened, tmp_path, SpecError).reason == "HubRedirectRefused"


def test_a_hub_that_was_named_in_a_private_network_leads_on_within_it_but_gets_no_token_there(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    store, heard_by_store = hub(whole)
    opened, heard = hub(leads_to(f"{store().hub.endpoint}{FILE}"))
    monkeypatch.setenv("HF_ENDPOINT", opened().hub.endpoint)
    assert fetched(opened, tmp_path) == CONTENT
    assert (heard[0][2], heard_by_store[0][2]) == ("Bearer hf_secret", None)


def test_a_private_hub_whose_name_is_not_told_for_a_moment_has_led_nobody_astray(hub, tmp_path, monkeypatch):
    store, _ = hub(whole)
    opened, _ = hub(leads_to(f"{store().hub.endpoint}{FILE}"))
    known = socket.getaddrinfo

    def told(host, port, *more, **words):
        if port is None:  # it is not called, but looked for
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return known(host, port, *more, **words)

    monkeypatch.setattr(socket, "getaddrinfo", told)
    assert refused(opened, tmp_path, StoreError).reason == "HubUnavailable"


def test_a_link_that_is_refused_where_it_leads_is_made_anew(hub, tmp_path):
    store, heard = hub(lambda request, content: answer(request, 403), whole)
    opened, _ = hub(leads_to(f"{store().hub.endpoint}{FILE}"))
    assert fetched(opened, tmp_path) == CONTENT
    assert len(heard) == 2


def test_links_that_are_always_refused_are_no_refusal_of_the_hub(hub, tmp_path):
    store, _ = hub(lambda request, content: answer(request, 403))
    opened, _ = hub(leads_to(f"{store().hub.endpoint}{FILE}"))
    assert refused(opened, tmp_path, StoreError).reason == "HubUnavailable"


def test_a_hub_that_a_serrun_alone_names_gets_no_token_of_this_machine(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    opened, heard = hub(whole)
    assert fetched(opened, tmp_path / "here") == CONTENT
    monkeypatch.setenv(HUB_CREDENTIALS, "/etc/ser/hub-credentials")
    assert fetched(opened, tmp_path / "in a pod") == CONTENT
    assert [one[2] for one in heard] == [None, "Bearer hf_secret"]


def test_who_is_refused_without_the_token_is_told_where_it_goes(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    opened, _ = hub(whole, listing=lambda request, content: answer(request, 401))
    with pytest.raises(SERError) as told:
        opened()
    assert "if this one is yours, set HF_ENDPOINT=http://127.0.0.1" in told.value.hint


def test_no_hub_is_asked_beside_the_one_that_is_meant(hub, tmp_path, monkeypatch):
    asked = []
    other, _ = hub(whole, listing=lambda request, content: (asked.append(request.path), whole(request, content)))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", other().hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.AGENT_HARNESSES_PATH", str(tmp_path / "harnesses"))
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None)
    asked.clear()
    opened, _ = hub(whole)
    assert (opened().commit, asked) == (COMMIT, [])


def test_redirects_do_not_go_on_for_ever(hub, tmp_path):
    opened, heard = hub(leads_to(FILE))
    assert "redirects more than 10 times" in refused(opened, tmp_path, SpecError).message
    assert len(heard) == 10


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("1.1.1.1", Place.INTERNET),
        ("2606:4700::1111", Place.INTERNET),
        ("64:ff9b::101:101", Place.INTERNET),
        *((private, Place.PRIVATE) for private in ("10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "fd00:ec2::254", "224.0.0.1")),
        *((private, Place.PRIVATE) for private in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "240.0.0.1")),
        *((own, Place.LOOPBACK) for own in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1")),
        *((link, Place.LINK) for link in ("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254")),
    ],
)
def test_where_an_address_lies(address, place):
    assert place_of(address) is place


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "::1"])
def test_every_spelling_of_this_machine_is_known(host):
    assert place_of_host(host) is Place.LOOPBACK


def test_a_hub_leads_no_nearer_than_it_lies():
    assert [[may_lead(hub, target) for target in Place] for hub in Place] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, False],
    ]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("²", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_a_pause_is_asked_for_in_seconds_or_as_a_time(told, seconds):
    assert seconds_to_wait(told, 10.0) == seconds
