"""`ser` in this process, a small API server, and golden files."""

import io
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from ser_core.cli import app

GOLDEN = Path(__file__).parents[2] / "golden"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def ser(monkeypatch, capsys):
    """Calls the command line; ``stdin`` is what it can read, ``program`` the name that it is called by."""

    def call(*arguments, stdin="", program="ser"):
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin if isinstance(stdin, bytes) else stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            app.main()
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def golden():
    """Compares a text with a file in tests/golden; with UPDATE_GOLDEN=1 it writes the file."""

    def compare(name, text):
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} differs; UPDATE_GOLDEN=1 writes it anew"

    return compare


@dataclass
class SmallApi:
    """An API server that answers what a test has put in. ``answers``: by path, a body or a pair of status and body."""

    kubeconfig: Path
    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    headers: dict = field(default_factory=dict)
    created: Callable = lambda body: body

    def put_run(self, run, namespace="lab"):
        """Serve a run under its name."""
        run = run.model_copy(update={"metadata": run.metadata.model_copy(update={"namespace": namespace})})
        body = run.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.answers[f"{self.runs(namespace)}/{run.metadata.name}"] = body
        self.answers.setdefault(self.runs(namespace), {"items": []})["items"].append(body)
        for kind in ("pods", "events"):
            self.answers.setdefault(f"/api/v1/namespaces/{namespace}/{kind}", {"items": []})
        return run

    def runs(self, namespace="lab"):
        """Path of the runs of a namespace."""
        return f"/apis/ser.dev/v1alpha1/namespaces/{namespace}/serruns"


@pytest.fixture
def api(tmp_path, monkeypatch):
    """A small API server; KUBECONFIG leads to it, with the namespace lab."""
    small = SmallApi(tmp_path / "kubeconfig")
    small.answers = {small.runs(namespace): {"items": []} for namespace in ("lab", "other")}

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            url, small.headers = urlsplit(self.path), dict(self.headers)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            small.asked.append((self.command, url.path, parse_qs(url.query), json.loads(sent) if sent else None))
            if self.command == "POST":
                small.answers[url.path] = (201, small.created(json.loads(sent)))
            found = small.answers.get(url.path, (404, {"message": f"{url.path} not found"}))
            code, body = found if isinstance(found, tuple) else (200, found)
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = do_POST = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    config = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "small", "user": "me", "namespace": "lab"}},
            {"name": "there", "context": {"cluster": "small", "user": "me", "namespace": "other"}},
            {"name": "dead", "context": {"cluster": "dead", "user": "me"}},
        ],
        "clusters": [
            {"name": "small", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}},
            {"name": "dead", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    small.kubeconfig.write_text(yaml.safe_dump(config))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(small.kubeconfig))
    yield small
    server.shutdown()
    server.server_close()
