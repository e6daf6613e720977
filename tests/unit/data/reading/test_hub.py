"""hf:// URIs against a small server that speaks the hub's endpoints, named by HF_ENDPOINT."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from ser_core.api.spec.data import FileSpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.api.stage_wire import HUB_CREDENTIALS
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import check_base_model
from ser_core.data.reading.sources import open_source
from ser_core.errors import DataError, SpecError, StoreError

COMMIT = "c0ffee" + "0" * 34
FILES = {
    "datasets/org/pairs": {
        "README.md": b"pairs",
        "data/train-00000-of-00002.jsonl": b'{"prompt": "a"}\n',
        "data/train-00001-of-00002.jsonl": b'{"prompt": "b"}\n',
        "data/test-00000-of-00001.jsonl": b'{"prompt": "c"}\n',
    },
    "datasets/org/carded": {
        "README.md": b"---\nconfigs:\n- config_name: judged\n  data_files:\n  - {split: train, path: 'raw/good-*'}\n---\n",
        "raw/good-1.jsonl": b'{"prompt": "a"}\n',
        "raw/train.jsonl": b'{"prompt": "b"}\n',
    },
    "models/org/model": {
        "config.json": json.dumps({"model_type": "bert", "max_position_embeddings": 512}).encode(),
        "model.safetensors": b"weights",
        "pytorch_model.bin": b"pickle",
        "tokenizer.json": b"{}",
        "onnx/model.onnx": b"graph",
    },
}


class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        if parts[0] == "api":
            self._info(f"{parts[1]}/{parts[2]}/{parts[3]}", parts[5] if len(parts) > 5 else "main")
            return
        repository, rest = (
            parts[:3] if parts[0] == "datasets" else ["models", *parts[:2]],
            parts[3:] if parts[0] == "datasets" else parts[2:],
        )
        content = FILES.get("/".join(repository), {}).get("/".join(rest[2:])) if rest[:2] == ["resolve", COMMIT] else None
        if content is None:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer(200, content, {"ETag": '"tag"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET

    def _info(self, repository, revision):
        if repository == "datasets/org/gated":
            self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
        elif repository == "datasets/org/broken":
            self._answer(500, b"")
        elif repository not in FILES:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", "v1", COMMIT):
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            files = {**FILES[repository], "../escape.jsonl": b""}
            sizes = "blobs=true" in self.path.lower()
            told = [{"rfilename": name, **({"size": len(content)} if sizes else {})} for name, content in files.items()]
            info = {"id": "org/x", "sha": COMMIT, "siblings": told}
            self._answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _answer(self, status, content, headers=()):
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def endpoint():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def opened(endpoint, access, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    return lambda uri: open_source(uri, access, tmp_path / "downloads", lambda: None)


def test_the_train_files_of_a_commit_are_read_and_the_rest_is_named(opened):
    source = opened("hf://org/pairs@v1")
    assert source.pinned == f"hf://org/pairs@{COMMIT}"
    assert [file.path.read_bytes() for file in source.files] == [b'{"prompt": "a"}\n', b'{"prompt": "b"}\n']
    assert source.left_out == ("data/test-00000-of-00001.jsonl",)
    assert set(source.names().values()) == {"pairs"}


@pytest.mark.parametrize("subset", [None, "judged"])
def test_the_files_that_a_datasets_card_names_are_read(endpoint, access, monkeypatch, tmp_path, subset):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    place = FileSpec(uri="hf://org/carded", subset=subset)
    source = open_source(place.uri, access, tmp_path / "downloads", lambda: None, place)
    assert [file.name for file in source.files] == ["raw/good-1.jsonl"]


@pytest.mark.parametrize(
    ("uri", "error", "reason"),
    [
        ("hf://org/nothing", DataError, "DataNotFound"),
        ("hf://org/pairs@v9", DataError, "DataNotFound"),
        ("hf://org/gated", SpecError, "HubAccessDenied"),
        ("hf://org/broken", StoreError, "HubUnavailable"),
    ],
)
def test_what_the_hub_refuses_is_explained(opened, uri, error, reason):
    with pytest.raises(error) as caught:
        opened(uri)
    assert (caught.value.reason, uri in caught.value.message, bool(caught.value.hint)) == (reason, True, True)


def test_a_hub_that_cannot_be_reached_is_worth_a_retry(tmp_path):
    access = Access(StorageSpec(uri="file:///store"), HubSpec(endpoint="http://127.0.0.1:9"))
    with pytest.raises(StoreError) as caught:
        open_source("hf://org/pairs", access, tmp_path, lambda: None)
    assert (caught.value.reason, "127.0.0.1:9" in caught.value.message) == ("HubUnavailable", True)


@pytest.mark.parametrize("by", ["field", "environment"])
def test_a_token_is_not_sent_in_clear_but_to_this_machine(by, endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    elsewhere = "http://hub.example"
    monkeypatch.setenv("HF_ENDPOINT", elsewhere if by == "environment" else endpoint)
    monkeypatch.setenv(HUB_CREDENTIALS, "/etc/ser/hub-credentials")
    access = Access(StorageSpec(uri="file:///store"), HubSpec(endpoint=elsewhere if by == "field" else None))

    with pytest.raises(SpecError, match=elsewhere) as caught:
        open_source("hf://org/pairs", access, tmp_path, lambda: None)
    assert caught.value.reason == "TokenInClear"

    here = Access(StorageSpec(uri="file:///store"), HubSpec(endpoint=endpoint))
    assert open_source("hf://org/pairs", here, tmp_path, lambda: None).pinned == f"hf://org/pairs@{COMMIT}"


def test_a_token_that_was_stored_by_a_login_is_not_sent_in_clear_either_and_the_hint_knows_of_it(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    stored = tmp_path / "token"
    stored.write_text("hf_secret")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(stored))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    access = Access(StorageSpec(uri="file:///store"), HubSpec(endpoint="http://hub.example"))

    with pytest.raises(SpecError, match="in clear") as caught:
        open_source("hf://org/pairs", access, tmp_path, lambda: None)
    assert "hf auth logout" in caught.value.hint


def test_only_the_files_that_a_model_needs_are_copied(endpoint, tmp_path):
    access = Access(StorageSpec(uri="file:///store"), HubSpec(endpoint=endpoint))
    model = check_base_model(RewardModelSpec(base="hf://org/model", max_length=512), access, tmp_path / "model")
    files = model.fetch(tmp_path / "model", lambda: None)
    assert model.location.pinned == f"hf://org/model@{COMMIT}"
    assert {name: path.read_bytes() for name, path in files.items()} == {
        name: FILES["models/org/model"][name] for name in ("config.json", "tokenizer.json", "model.safetensors")
    }


def test_the_beginning_of_a_file_is_read_without_the_rest(endpoint, tmp_path):
    access = Access(StorageSpec(uri="file:///store"), HubSpec(endpoint=endpoint))
    location = check_base_model(RewardModelSpec(base="hf://org/model", max_length=512), access, tmp_path / "model").location
    assert location.beginning("model.safetensors", 4) == b"weig"


def test_the_sizes_of_a_models_files_are_known(endpoint, tmp_path):
    access = Access(StorageSpec(uri="file:///store"), HubSpec(endpoint=endpoint))
    location = check_base_model(RewardModelSpec(base="hf://org/model", max_length=512), access, tmp_path / "model").location
    assert location.sizes["model.safetensors"] == len(b"weights")
