"""What a stage takes from the pod around it, and gives to it: mounted credentials and its progress."""

import io
import json
import urllib.error
import urllib.request

import pytest
from addresses import needs_ipv6
from ports import free_port

from ser_core.errors import StoreAccessDenied
from ser_jobs.process.credentials import load_credentials
from ser_jobs.telemetry.progress_server import progress_server
from ser_jobs.telemetry.reporter import EventLog


def test_a_mounted_secret_sets_its_own_keys_and_nothing_else(tmp_path):
    for name, text in {"AWS_ACCESS_KEY_ID": "key\n", "AWS_SECRET_ACCESS_KEY": "secret", "LD_PRELOAD": "/evil.so"}.items():
        (tmp_path / name).write_text(text)
    environment = {"SER_STORAGE_CREDENTIALS": str(tmp_path)}

    load_credentials(environment)

    assert environment["AWS_ACCESS_KEY_ID"] == "key"
    assert "LD_PRELOAD" not in environment


def test_a_secret_without_the_keys_is_refused_by_name(tmp_path):
    with pytest.raises(StoreAccessDenied, match="SER_HUB_CREDENTIALS has none of the keys HF_TOKEN"):
        load_credentials({"SER_HUB_CREDENTIALS": str(tmp_path)})


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), pytest.param("::1", "[::1]", marks=needs_ipv6)])
def test_progress_is_served_while_the_stage_computes(tmp_path, address, host):
    log = EventLog(tmp_path / "log.jsonl", io.StringIO())
    port = free_port()
    with progress_server({"POD_IP": address, "SER_PROGRESS_PORT": str(port)}, log.latest, lambda: b""):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://{host}:{port}/progress", timeout=60)
        log.progress(3, 10, "pairs")
        with urllib.request.urlopen(f"http://{host}:{port}/progress", timeout=60) as answer:
            assert json.load(answer) == {"step": 3, "total": 10, "unit": "pairs"}

    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{host}:{port}/progress", timeout=60)


@pytest.mark.parametrize("environment", [{}, {"POD_IP": "203.0.113.1", "SER_PROGRESS_PORT": "9400"}])
def test_a_stage_runs_on_where_progress_cannot_be_served(environment):
    with progress_server(environment, lambda: None, lambda: b""):
        pass
