"""A hub that is reached through a proxy (`HTTP_PROXY`, `NO_PROXY`): where a redirect may lead is judged there too."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub.utils import close_session

from ser_core.api.spec.storage import HubSpec
from ser_core.data.reading.hub.repository import open_repository
from ser_core.errors import SpecError

COMMIT = "c0ffee" + "0" * 34
FILE = f"/org/model/resolve/{COMMIT}/model.safetensors"
HUB = f"http://hub.example{FILE}"


@pytest.fixture
def proxy(monkeypatch):
    """A proxy in front of the hub hub.example, whose file is elsewhere; it tells what it was asked for, and by which token."""
    asked = []

    def start(leads_to, no_proxy=""):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.path, self.headers.get("Authorization")))
                content = b"weights"
                if "/api/" in self.path:
                    content = json.dumps({"sha": COMMIT, "siblings": [{"rfilename": "model.safetensors"}]}).encode()
                self.send_response(302 if self.path == HUB else 200)
                self.send_header("Location", leads_to)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        close_session()  # a client reads these once
        return lambda folder: open_repository("hf://org/model", HubSpec(endpoint="http://hub.example"), "model", None).fetch(
            "model.safetensors", folder
        )

    servers = []
    start.asked = asked
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
    close_session()


def test_names_are_the_proxys_to_resolve_and_its_own_address_does_not_count_as_the_hubs(proxy, tmp_path):
    fetch = proxy("http://files.example/weights")
    assert fetch(tmp_path).read_bytes() == b"weights"
    assert [path for path, _ in proxy.asked][1:] == [HUB, "http://files.example/weights"]


@pytest.mark.parametrize("target", ["http://10.0.0.1/x", "http://169.254.169.254/latest", "http://[fd00::1]/x", "http://localhost/x"])
def test_a_written_address_inside_is_not_even_asked_of_the_proxy(proxy, tmp_path, target):
    fetch = proxy(target)
    with pytest.raises(SpecError, match="redirects to") as caught:
        fetch(tmp_path)
    assert caught.value.reason == "HubRedirectRefused"
    assert target not in [path for path, _ in proxy.asked]


@pytest.mark.parametrize("no_proxy", ["server.corp.test", ".corp.test", "*.corp.test", "server.corp.test:8080", "http://server.corp.test"])
def test_a_name_that_is_called_past_the_proxy_is_resolved_and_judged(proxy, tmp_path, no_proxy, monkeypatch):
    known = socket.getaddrinfo
    private = lambda host, *more, **words: known("10.0.0.1" if host == "server.corp.test" else host, *more, **words)  # noqa: E731
    fetch = proxy("http://server.corp.test:8080/x", no_proxy)
    monkeypatch.setattr(socket, "getaddrinfo", private)
    with pytest.raises(SpecError, match=r"redirects to server\.corp\.test, which lies in a private network"):
        fetch(tmp_path)
