"""Ctrl-C to `ser run`, once and twice: what it leaves behind says how the run goes on, and names no field that nobody has set."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from ser_core.api.spec.storage import StorageSpec
from ser_core.cli.commands.changing import run as command
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import load_run


class Pressed:
    """An executor during whose first wait Ctrl-C is pressed; ``TWICE``: and again while its processes end."""

    TWICE = False
    numbers = ()

    def __init__(self, run):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.TWICE:
            signal.raise_signal(signal.SIGINT)

    def observe(self):
        return ()

    def carry_out(self, action):
        pass

    def wait(self, seconds):
        signal.raise_signal(signal.SIGINT)
        return []


class PressedTwice(Pressed):
    TWICE = True


class Unmounted(Pressed):
    """An executor during whose first wait the store's folder goes, and comes back during the second; then Ctrl-C is pressed."""

    def wait(self, seconds):
        if not self.numbers:
            Path("store").rename("away")
            self.numbers = (os.getpid(),)  # other ones: the lock is written anew at once
            return []
        Path("away").rename("store")
        return super().wait(seconds)


class Replaced(Pressed):
    """An executor that finds no SERRun file, as while an editor replaces it."""

    def __init__(self, run):
        Path("serrun.yaml").unlink()


@pytest.fixture
def file(tmp_path):
    spec = {
        "rewardModel": {"base": "file://./model", "maxLength": 32},
        "data": {"source": {"uri": "file://./pairs.jsonl", "seedFraction": 0.3}},
        "storage": {"uri": f"file://{tmp_path}/store"},
    }
    file = tmp_path / "serrun.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "small"}, "spec": spec}))
    return file


@pytest.fixture(params=[Pressed, PressedTwice], ids=["once", "twice"])
def interrupted(request, ser, file, monkeypatch):
    """A run that was begun and interrupted."""
    monkeypatch.setattr(command, "LocalExecutor", request.param)
    return ser("run", file, "--json")


@pytest.fixture(autouse=True)
def own_handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_stored_status_says_how_it_goes_on(interrupted, file, tmp_path):
    assert interrupted.code == 130
    status = load_run(connect(StorageSpec(uri=f"file://{tmp_path}/store")), "default", "small").status
    told = {status.message, *(condition.message for condition in status.conditions if condition.message)}
    assert told == {f"interrupted; to go on: ser run {file}"}


def test_the_last_line_names_the_command_that_goes_on(interrupted, file):
    assert json.loads(interrupted.out.splitlines()[-1])["message"].endswith(f"; to go on: ser run {file}")


def test_why_names_the_interruption(interrupted, ser, file):
    cause, evidence, fix = ser("why", file).out.splitlines()
    assert cause.endswith("ser run was interrupted, by Ctrl-C or SIGTERM")
    assert evidence.endswith(f"interrupted; to go on: ser run {file}") and fix.endswith(f"ser run {file}")


def test_an_interruption_is_told_once():
    asked = command.Interruption()
    before = asked.is_new()
    asked.handle(signal.SIGINT, None)

    assert (before, asked.is_new(), asked.is_new()) == (False, True, False)


def test_what_the_second_ctrl_c_does_is_said_at_the_first(interrupted):
    warnings = [event["message"] for event in map(json.loads, interrupted.out.splitlines()) if event["event"] == "warning"]
    assert [text for text in warnings if "Ctrl-C again" in text] == [
        "interrupted: what runs saves a checkpoint and ends; Ctrl-C again ends it at once"
    ]


def test_a_folder_that_is_gone_for_a_while_is_not_made_anew_by_the_lock(ser, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "LocalExecutor", Unmounted)
    assert ser("run", file, "--json").code == 130
    assert load_run(connect(StorageSpec(uri=f"file://{tmp_path}/store")), "default", "small") is not None


def test_a_file_that_is_just_being_replaced_ends_no_run(ser, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "LocalExecutor", Replaced)
    assert ser("run", file, "--json").code == 130
