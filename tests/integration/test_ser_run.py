"""`ser run` as a user starts, interrupts, kills and continues it."""

import json
import os
import signal
from pathlib import Path

import pytest

STAGES = {
    "iter-0000/prepare",
    "iter-0000/retrain",
    "iter-0001/label",
    "iter-0001/filter",
    "iter-0001/retrain",
    "iter-0000/control-seed-only",
}


def wait_for(process, text):
    """Read the events of a running `ser run` until one holds ``text``."""
    for line in process.stdout:
        if text in line:
            return json.loads(line)
    pytest.fail(f"ser run ended with {process.wait()} before {text}: {process.stderr.read()[-2000:]}")


def child(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_a_run_evolves_and_says_so(undisturbed):
    manifests = undisturbed.manifests()
    assert set(manifests) == STAGES
    assert manifests["iter-0000/retrain"]["metrics"]["heldout"]["accuracy"] > 0.7
    assert manifests["iter-0001/filter"]["metrics"]["kept"] > 0


def test_its_status_tells_the_bytes_that_lie_in_its_folder(undisturbed):
    (status,) = (json.loads(path.read_text())["status"] for path in undisturbed.store.glob("default/*/run.json"))
    folder = [path for path in undisturbed.store.glob("default/*/*/**/*") if path.is_file()]
    assert sum(status["stored"].values()) == sum(path.stat().st_size for path in folder)


def test_a_completed_run_is_left_alone(undisturbed):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.store.rglob("*") if path.is_file()}
    again = undisturbed.ser("run", str(undisturbed.file))
    assert again.returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.store.rglob("*") if path.is_file()}


def test_the_same_spec_gives_the_same_digests_and_metrics(undisturbed, make_run, tmp_path):
    twin = make_run(tmp_path)
    assert twin.ser("run", str(twin.file)).returncode == 0
    assert twin.manifests() == undisturbed.manifests()


@pytest.mark.parametrize(
    ("where", "kill"),
    [
        ('"stage": "prepare"', signal.SIGKILL),
        ('"stage": "retrain", "iteration": 0', signal.SIGINT),
        ('"stage": "label"', signal.SIGKILL),
        ('"unit": "pairs"', signal.SIGINT),
    ],
    ids=["prepare-sigkill", "retrain-ctrl-c", "label-sigkill", "pairs-ctrl-c"],
)
def test_an_interrupted_run_continues_to_the_same_result(undisturbed, make_run, tmp_path, where, kill):
    run = make_run(tmp_path)
    process = run.start()
    wait_for(process, where)
    process.send_signal(kill)
    process.communicate()
    assert process.returncode == (130 if kill is signal.SIGINT else -9)
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    assert run.manifests() == undisturbed.manifests()


def test_suspend_in_the_file_stops_the_run_and_its_removal_continues_it(undisturbed, make_run, tmp_path):
    run = make_run(tmp_path)
    process = run.start()
    wait_for(process, '"stage": "retrain"')
    run.change(lambda spec: spec.update(suspend=True))
    process.communicate()
    assert process.returncode == 75
    run.change(lambda spec: spec.pop("suspend"))
    assert run.ser("run", str(run.file)).returncode == 0
    assert run.manifests() == undisturbed.manifests()


def test_two_runners_of_one_run_take_turns(undisturbed, make_run, tmp_path):
    run = make_run(tmp_path)
    first = run.start()
    wait_for(first, '"event": "started"')
    second = run.start()
    assert wait_for(second, "waiting for it")["event"] == "warning"
    assert [process.communicate() and process.returncode for process in (first, second)] == [0, 0]
    assert run.manifests() == undisturbed.manifests()


def test_ctrl_c_ends_a_runner_that_only_waits(make_run, tmp_path):
    run = make_run(tmp_path, lambda spec: spec["training"].update(epochs=100))  # the first is at work until it is told to end
    first = run.start()
    wait_for(first, '"event": "started"')
    second = run.start()
    wait_for(second, "waiting for it")
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=300)
    first.send_signal(signal.SIGINT)
    told = first.communicate()[0]
    assert (second.returncode, first.returncode) == (130, 130)
    assert f"interrupted; to go on: ser run {run.file}" in told
    assert "set suspend" not in told  # nobody has set that field


def test_a_changed_immutable_field_is_refused_by_name(undisturbed):
    original = undisturbed.file.read_text()
    try:
        undisturbed.change(lambda spec: spec["training"].update(epochs=9))
        refused = undisturbed.ser("run", str(undisturbed.file))
    finally:
        undisturbed.file.write_text(original)
    assert refused.returncode == 10
    assert f"{undisturbed.file}:" in refused.stderr
    assert "spec.training.epochs was" in refused.stderr


def test_bad_data_ends_with_11_and_commits_nothing(make_run, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"question": "?", "answer": "!"}\n' * 50)
    run = make_run(tmp_path, lambda spec: spec["data"]["source"].update(uri=f"file://{broken}"))
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 11
    assert "broken.jsonl" in ended.stdout
    assert run.manifests() == {}


def test_a_failed_run_goes_on_once_its_data_are_repaired(undisturbed, make_run, pairs_file, tmp_path):
    run = make_run(tmp_path)
    source = tmp_path / "pairs.jsonl"
    source.write_text('{"question": "?", "answer": "!"}\n' * 50)
    run.change(lambda spec: spec["data"]["source"].update(uri=f"file://{source}"))
    assert run.ser("run", str(run.file)).returncode == 11
    assert run.ser("run", str(run.file)).returncode == 11  # nothing is done before ser retry
    source.write_text(pairs_file.read_text())
    assert run.ser("retry", str(run.file)).returncode == 0
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    assert run.manifests().keys() == undisturbed.manifests().keys()


def test_a_run_whose_spec_is_wrong_is_begun_anew(undisturbed, make_run, tmp_path):
    run = make_run(tmp_path, lambda spec: spec["rewardModel"].update(maxLength=100_000))
    assert run.ser("run", str(run.file)).returncode == 10
    assert f"ser purge {run.file} and ser run {run.file}" in run.ser("why", str(run.file)).stdout
    run.change(lambda spec: spec["rewardModel"].update(maxLength=32))
    assert run.ser("purge", str(run.file), "--yes").returncode == 0
    assert run.ser("run", str(run.file)).returncode == 0
    assert run.manifests() == undisturbed.manifests()


def test_a_stage_that_is_killed_is_told_as_mostly_out_of_memory(undisturbed, make_run, tmp_path):
    run = make_run(tmp_path)
    process = run.start()
    wait_for(process, '"stage": "retrain"')
    os.kill(child(child(process.pid)), signal.SIGKILL)  # of the server of the stage processes
    assert wait_for(process, "Killed")["message"].endswith("mostly because the machine had no memory left")
    process.communicate()
    assert process.returncode == 0
    assert run.manifests() == undisturbed.manifests()


def test_a_completed_run_goes_on_with_more_loops(undisturbed, make_run, tmp_path):
    whatever_it_gains = {"patience": 5, "rollback": "none"}  # a tiny model's gain is another one on another processor
    run = make_run(tmp_path, lambda spec: spec["loop"].update(stopping=whatever_it_gains))
    assert run.ser("run", str(run.file)).returncode == 0
    run.change(lambda spec: spec["loop"].update(maxIterations=2))
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    made = run.manifests()
    assert {name: made[name] for name in STAGES} == undisturbed.manifests()
    assert {"iter-0002/label", "iter-0002/filter"} <= made.keys() - STAGES <= {"iter-0002/label", "iter-0002/filter", "iter-0002/retrain"}


def test_a_progress_event_is_a_json_line_with_step_and_total(make_run, tmp_path):
    run = make_run(tmp_path)
    process = run.start()
    event = wait_for(process, '"unit": "pairs"')
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert 0 <= event["step"] <= event["total"]
    assert process.returncode == 143
