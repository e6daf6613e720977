"""An API server that holds nothing: empty lists, watches in which nothing happens, and a note of what was asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def _resources(**plurals: str) -> dict[str, object]:
    common = {"singularName": "", "namespaced": True, "verbs": ["list", "patch", "watch"]}
    return {"resources": [{"name": plural, "kind": kind, **common} for kind, plural in plurals.items()]}


def _group(name: str, version: str) -> dict[str, object]:
    return {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}


DISCOVERY: dict[str, dict[str, object]] = {
    "/api": {"versions": ["v1"]},
    "/apis": {"groups": [_group("batch", "v1"), _group("ser.dev", "v1alpha1")]},
    "/api/v1": _resources(Namespace="namespaces", Pod="pods"),
    "/apis/batch/v1": _resources(Job="jobs"),
    "/apis/ser.dev/v1alpha1": _resources(SERRun="serruns"),
}
"""What the server says of itself."""


class ApiDouble:
    """Serves on loopback while it is entered.

    Attributes:
        watched: Path of every watch that was begun.
        watching: Set when all three kinds are watched.
    """

    def __init__(self) -> None:
        self.watched: set[str] = set()
        self.watching, self._ended = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def __enter__(self) -> "ApiDouble":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, path: Path) -> Path:
        """Write down how it is reached."""
        named = {
            "clusters": [{"name": "double", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [{"name": "operator", "user": {"token": "anything"}}],
            "contexts": [{"name": "here", "context": {"cluster": "double", "user": "operator"}}],
        }
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "here", **named}))
        return path

    def _answer(self, path: str) -> dict[str, object]:
        return DISCOVERY.get(path, {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []})

    def _watch(self, path: str) -> None:
        self.watched.add(path)
        if len(self.watched) == 3:
            self.watching.set()
        self._ended.wait()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                watch = "watch" in parse_qs(asked.query)
                content = b"" if watch else json.dumps(double._answer(asked.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                if not watch:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                if watch:
                    double._watch(asked.path)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
