"""Where no node can run, the lane says why and is skipped, unless it is required."""

import pytest
from lanes import REQUIRED

from node import __main__ as lane
from node import parts, requirements


@pytest.mark.parametrize(("wanted", "code", "word"), [("", 0, "SKIPPED"), ("required", 1, "FAILED")])
def test_a_lane_that_cannot_run_says_why(monkeypatch, capsys, wanted, code, word):
    monkeypatch.setenv(REQUIRED, wanted)
    monkeypatch.setattr(parts, "obstacle", lambda: "a node is run by root alone: sudo make node")

    with pytest.raises(SystemExit) as ended:
        lane.main(["tests/node/core"])

    assert ended.value.code == code
    assert capsys.readouterr().out == f"{word} the tests on a node: a node is run by root alone: sudo make node\n"


def test_what_is_missing_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements.shutil, "which", lambda name: None if name == "containerd" else f"/usr/bin/{name}")
    monkeypatch.setattr(requirements, "PLUGIN", requirements.Path("/"))

    assert requirements.obstacle() == "containerd not installed: make node-packages installs them (Debian, Ubuntu)"
