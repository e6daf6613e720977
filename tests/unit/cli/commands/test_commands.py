"""The read-only commands on a stored run: output, errors and exit codes."""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from controlplane.faults.scenario import SPEC
from ser_core import errors
from ser_core.api.stage import RunIdentity
from ser_core.api.status import SERRunStatus, StageKind
from ser_core.cli.access.runner import this_process
from ser_core.cli.access.stored_run import SOON
from ser_core.cli.app import EXIT_UNREAD, app
from ser_core.cli.commands.changing.run import EXIT_SUSPENDED
from ser_core.cli.commands.reading.logs import readable
from ser_core.store.stages.commit import find_manifest
from ser_core.store.stages.removed import Removed, mark_removed

COMMANDS = (
    *(
        "validate",
        "run",
        "status",
        "why",
        "evolution",
        "diff",
        "sweep",
        "report",
        "logs",
        "suspend",
        "resume",
        "retry",
        "score",
        "suggest",
        "export",
        "purge",
    ),
)


def test_help_names_every_command(ser):
    shown = ser("-h")
    assert shown.code == 0
    assert all(f"\n  {command} " in shown.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_first_what_it_does_and_ends_with_an_example(ser, command):
    shown = ser(command, "--help").out
    assert shown.splitlines()[2].strip().endswith(".")
    assert f"  ser {command} " in shown[shown.index("Example") :]


SHELL_WORDS = ("&&", "|", ">")


def examples_of(ser, command):
    shown = ser(command, "--help").out
    return shown[shown.index("Example") :].partition("\n")[2]


def example_lines(words):
    """The command lines of an example, without what other programs do."""
    for command in " ".join("\n" if word in SHELL_WORDS else shlex.quote(word) for word in words).splitlines():
        if command.split()[:1] == ["ser"]:
            yield shlex.split(command)[1:]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_of_the_help_is_a_command_line_that_is_taken(ser, command):
    program = get_command(app)
    for name, *words in (line for example in examples_of(ser, command).splitlines() for line in example_lines(shlex.split(example))):
        taken = program.commands[name]
        taken.make_parser(taken.context_class(taken)).parse_args(words)


def test_no_shell_changes_an_example_of_the_help(ser):
    """Of zsh: what stands in brackets is a pattern, and one that matches no file is an error."""
    assert [command for command in COMMANDS if re.search(r"[\[{?*]", re.sub(r"'[^']*'", "", examples_of(ser, command)))] == []


def test_status_needs_no_heavy_library():
    heavy = {"torch", "transformers", "pyarrow", "numpy", "jinja2", "boto3", "kubernetes"}
    code = f"import sys, ser_core.cli.app; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_an_error_is_a_message_a_hint_and_an_exit_code(ser, stored_run, tmp_path):
    document = yaml.safe_load(stored_run.file.read_text())
    document["metadata"]["name"] = "never-started"
    other = tmp_path / "serrun.yaml"
    other.write_text(yaml.safe_dump(document))
    ended = ser("status", other)
    assert (ended.code, ended.out) == (10, "")
    hint = f"start it: ser run {other}; a run on a cluster is read by its name: never-started -n default"
    assert ended.err == f"error: {stored_run.run.spec.storage.uri} holds no run default/never-started\nhint: {hint}\n"


def test_a_store_that_does_not_answer_is_told_soon(ser, monkeypatch, tmp_path):
    """SOON is 20 s; here nobody waits at all."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr("ser_core.cli.access.stored_run.SOON", replace(SOON, deadline_seconds=0))
    file = tmp_path / "serrun.yaml"
    document = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "far"}}
    storage = {"uri": "s3://bucket/runs", "endpoint": "http://127.0.0.1:9"}
    file.write_text(yaml.safe_dump({**document, "spec": {**SPEC, "storage": storage}}))
    ended = ser("status", file)
    assert ended.code == 20
    assert "http://127.0.0.1:9" in ended.err
    assert "\nhint: check that the store is reachable" in ended.err


def test_no_color_is_respected(ser, monkeypatch, tmp_path):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31merror" in ser("status", tmp_path / "absent.yaml").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in ser("status", tmp_path / "absent.yaml").err


def test_status_as_json_is_the_whole_object(ser, stored_run):
    assert json.loads(ser("status", stored_run.file, "-o", "json").out) == json.loads(stored_run.run.model_dump_json(by_alias=True))


def test_evolution_as_json_holds_loops_controls_and_length_rule(ser, stored_run):
    shown = json.loads(ser("evolution", stored_run.file, "-o", "json").out)
    assert [row["iteration"] for row in shown["iterations"]] == [0, 1, 2]
    assert shown["controls"][0]["control"] == "full"
    assert 0.4 < shown["lengthOnlyAccuracy"] < 0.6


def test_evolution_on_a_cluster_tells_what_intervals_rest_on_and_the_length_rule(ser, stored_run, api):
    known = {"pairs": 200, "groups": 6, "length_only_accuracy": 0.517}
    model = stored_run.run.status.reward_model.model_copy(update=known)
    api.put_run(stored_run.run.model_copy(update={"status": stored_run.run.status.model_copy(update={"reward_model": model})}))
    shown = ser("evolution", stored_run.run.metadata.name, "-n", "lab").out
    assert "the 200 held-out pairs are in 6 groups by prompt: intervals" in shown and "\nlength " in shown and " 0.517" in shown


def test_evolution_in_a_pipe_is_plain_text(ser, stored_run):
    shown = ser("evolution", stored_run.file)
    assert "\x1b" not in shown.out
    assert "2 *" in shown.out


def test_logs_come_in_the_order_of_the_stages(ser, stored_run):
    names = [line.split()[0] for line in ser("logs", stored_run.file).out.splitlines()]
    assert names == ["prepare-0", "retrain-0", "label-1", "filter-1", "retrain-1", "label-2", "filter-2", "retrain-2", "control-full-0"]


def test_logs_of_other_processes_follow_that_of_the_first_with_their_ranks(ser, writable_run):
    first = next(entry.key for entry in writable_run.store.list("") if entry.key.endswith("iter-0001/label/attempt-1-0123abcd/log.jsonl"))
    for rank in (10, 3):
        event = {"time": "t", "event": "traceback", "text": f"of process {rank}"}
        writable_run.store.put(first.replace("0123abcd/log", f"{rank:08x}/log-rank-{rank:04}"), json.dumps(event).encode())
    lines = ser("logs", writable_run.file, "-i", "1", "-s", "label").out.splitlines()
    assert [line[:28].rstrip() for line in lines] == ["label-1", "label-1 rank 3", "label-1 rank 10"]
    assert lines[1].endswith("text=of process 3")


def test_logs_can_be_narrowed(ser, stored_run):
    shown = ser("logs", stored_run.file, "--iteration", "1", "--stage", "filter", "--json").out
    assert [json.loads(line)["stage"] for line in shown.splitlines()] == ["filter"]


def test_no_line_of_a_text_in_a_log_looks_like_one_of_the_log(ser, writable_run):
    log = next(entry.key for entry in writable_run.store.list("") if entry.key.endswith("prepare/attempt-1-0123abcd/log.jsonl"))
    writable_run.store.put(log, json.dumps({"time": "t", "event": "warned", "file": "a\nprepare-0  forged"}).encode())
    lines = ser("logs", writable_run.file, "-s", "prepare").out.splitlines()
    assert len(lines) == 2
    assert lines[1] == " " * 29 + "prepare-0  forged"


def test_a_line_end_of_unicode_ends_no_line_of_a_log(ser, writable_run):
    log = next(entry.key for entry in writable_run.store.list("") if entry.key.endswith("prepare/attempt-1-0123abcd/log.jsonl"))
    event = {"time": "t", "event": "warned", "text": "a\u0085b\u2028c\u2029d"}
    writable_run.store.put(log, json.dumps(event, ensure_ascii=False).encode())
    lines = ser("logs", writable_run.file, "-s", "prepare", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == [event]


@pytest.mark.parametrize("line", ['{"time": 1, "event": null}', "[" * 100_000, '{"time": []}', "[]"])
def test_a_line_that_no_stage_has_written_is_shown_all_the_same(line):
    assert readable(line)


def test_an_ended_run_will_not_write_another_log(ser, stored_run):
    ended = ser("logs", stored_run.file, "--iteration", "9")
    assert (ended.code, "no such stage has written a log\n" in ended.out + ended.err) == (1, True)


def test_report_writes_the_page_and_prints_its_name(ser, stored_run, tmp_path):
    ended = ser("report", stored_run.file, "-o", tmp_path / "new" / "page.html")
    assert (ended.code, ended.out) == (0, f"{tmp_path}/new/page.html\n")
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!doctype html>")


def test_report_to_a_place_that_cannot_be_written_is_an_error(ser, stored_run, tmp_path):
    (tmp_path / "file").write_text("")
    ended = ser("report", stored_run.file, "-o", tmp_path / "file" / "page.html")
    assert ended.code == 10
    assert "cannot be written" in ended.err


def test_purge_asks_first_and_then_leaves_nothing(ser, writable_run):
    store = writable_run.folder / "store"
    refused = ser("purge", writable_run.file, stdin="n\n")
    assert refused.code == 1
    assert "objects" in refused.err
    assert list(store.rglob("run.json"))
    assert ser("purge", writable_run.file, "--yes").code == 0
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_purge_of_a_name_says_how_what_a_run_on_a_cluster_has_stored_is_deleted(ser):
    refused = ser("purge", "hh", "-n", "lab")
    assert refused.code == 2
    assert "hint: kubectl delete serrun -n lab hh, then ser purge --orphans -n lab --older-than 1h --storage URI\n" in refused.err


@pytest.mark.parametrize("stdin", ["n\n", ""])
def test_purge_without_a_yes_says_how_to_give_it(ser, writable_run, stdin):
    refused = ser("purge", writable_run.file, stdin=stdin)

    assert (refused.code, "--yes deletes without asking" in refused.err) == (1, True)


def test_purge_of_a_folder_that_no_run_has_made_deletes_nothing(ser, tmp_path):
    home = tmp_path / "home" / "alice"
    home.mkdir(parents=True)
    (home / "thesis").touch()
    spec = {"rewardModel": {"base": "hf://o/m"}, "data": {"source": {"uri": "hf://o/d"}}, "storage": {"uri": f"file://{tmp_path}"}}
    document = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"namespace": "home", "name": "alice"}, "spec": spec}
    file = tmp_path / "stranger.yaml"
    file.write_text(yaml.safe_dump(document))
    refused = ser("purge", file, "--yes")
    assert refused.code == 10
    assert "home/alice holds 1 files, and none of a run: nothing is deleted" in refused.err
    assert (home / "thesis").exists()


def test_purge_warns_of_a_run_that_goes_on(ser, writable_run):
    file = next(writable_run.folder.rglob("run.json"))
    file.write_text(file.read_text().replace('"Completed"', '"Running"', 1))
    assert "has not ended" in ser("purge", writable_run.file, stdin="n\n").err


def test_a_run_that_a_ser_run_works_on_is_told_and_not_purged(ser, writable_run):
    file = next(writable_run.folder.rglob("run.json"))
    file.write_text(file.read_text().replace('"Completed"', '"Running"', 1))
    assert "by            no ser run works on it; ser run" in ser("status", writable_run.file).out
    assert "the run stopped without ending" in ser("why", writable_run.file).out
    file.with_name("LOCK.json").write_bytes(this_process().model_dump_json(by_alias=True).encode())
    refused = ser("purge", writable_run.file, "--yes")
    assert (refused.code, "works on default/small" in refused.err, file.exists()) == (10, True, True)
    told = f"ser run on {this_process().host}, process {os.getpid()}, last seen 0 s ago"
    assert f"by            {told}" in ser("status", writable_run.file).out
    assert f"; {told}" in ser("why", writable_run.file).out


def test_export_to_a_place_that_cannot_be_written_is_an_error(ser, stored_run, tmp_path):
    (tmp_path / "file").write_text("")
    ended = ser("export", stored_run.file, tmp_path / "file" / "model")
    assert (ended.code, "cannot be written" in ended.err) == (10, True)


@pytest.mark.parametrize("command", ["export", "score"])
def test_the_model_of_a_loop_that_is_not_the_best_is_taken_from_its_own_files(ser, writable_run, tmp_path, command):
    for path in (path for path in writable_run.folder.rglob("*/iter-0002/retrain/**/model/*") if path.is_file()):
        path.unlink()
    row = json.dumps({"prompt": "a", "answer": "b"}) + "\n"

    def taken(*loop):
        if command == "score":
            return ser("score", "-", "--run", writable_run.file, *loop, stdin=row)
        return ser("export", writable_run.file, tmp_path / "model", *loop)

    assert taken().code != 0
    wrong = taken("--loop", "7")
    assert (wrong.code, "run small has no reward model of loop 7" in wrong.err) == (10, True)
    assert "hint: there are: 0 (the seed model), 1, 2\n" in wrong.err
    assert taken("--loop", "0").code == 0


def test_an_export_says_whose_model_it_is(ser, stored_run, tmp_path):
    assert "files of the reward model of loop 1, and README.md" in ser("export", stored_run.file, tmp_path / "one", "--loop", "1").err
    assert "This is the reward model of loop 1, which the run has not chosen" in (tmp_path / "one" / "README.md").read_text()
    assert "files of the seed model, and README.md" in ser("export", stored_run.file, tmp_path / "seed", "--loop", "0").err
    both = ser("export", stored_run.file, tmp_path / "both", "--loop", "0", "--policy")
    assert (both.code, "--policy and --loop name two models" in both.err) == (2, True)


def test_a_model_that_was_removed_is_told_plainly(ser, writable_run, tmp_path):
    identity = RunIdentity(namespace="default", name="small", uid=writable_run.run.metadata.uid)
    manifest, _ = find_manifest(writable_run.store, identity, 0, StageKind.RETRAIN)
    gone = {part.key: "the seed model" for name, part in manifest.outputs.items() if name.startswith("model/")}
    mark_removed(writable_run.store, identity, Removed(models=gone))
    for key in gone:
        writable_run.store.delete(key)
    ended = ser("export", writable_run.file, tmp_path / "seed", "--loop", "0")
    assert ended.code == 10
    assert "small has removed the seed model, since its storage.retain is best" in ended.err


def test_no_summary_of_a_command_is_cut_off(ser):
    assert not [line for line in ser("--help").out.splitlines() if line.endswith("...") and not line.startswith("Usage")]


def test_export_refuses_a_folder_that_holds_something(ser, stored_run, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    ended = ser("export", stored_run.file, tmp_path)
    assert (ended.code, "not empty" in ended.err) == (10, True)


def test_another_spec_over_an_older_run_says_what_differs_and_what_to_do(ser, stored_run, tmp_path):
    document = yaml.safe_load(stored_run.file.read_text())
    document["spec"]["training"] = {"seed": 5}
    document["spec"]["loop"]["rule"] = "paper"
    other = tmp_path / "another run.yaml"
    other.write_text(yaml.safe_dump(document))

    ended = ser("run", other)

    assert (ended.code, ended.out) == (10, "")
    assert ended.err == (
        f"error: {other}: {stored_run.run.spec.storage.uri} holds a run default/small (Completed) that was started with another spec:\n"
        "  spec.training.seed was 0 and cannot become 5\n"
        "  spec.loop.rule was 'calibrated' and cannot become 'paper'\n"
        f"hint: to go on: write the old values back; to begin anew: ser purge '{other}'; "
        "to keep the old run: write another storage.uri or metadata.name\n"
    )


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("stats",), "no such command 'stats'. Did you mean 'status'?", "ser --help"),
        (("status",), "missing argument 'RUN'", "ser status --help"),
        (("status", "--wach", "x"), "no such option: --wach (Possible options: --watch)", "ser status --help"),
        (
            ("status", "x", "-o", "xml"),
            "invalid value for '--output' / '-o': 'xml' is not one of 'text', 'json', 'yaml'",
            "ser status --help",
        ),
    ],
)
def test_a_wrong_command_line_is_an_error_with_a_hint(ser, words, message, hint):
    ended = ser(*words)
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {message}\nhint: {hint}\n")


def test_without_words_it_shows_what_it_can_do(ser):
    ended = ser()
    assert ended.code == 2
    assert "Commands:" in ended.out + ended.err


def test_ctrl_c_ends_watching_with_130(ser, stored_run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ser_core.cli.commands.reading.status.time.sleep", interrupt)
    monkeypatch.setattr(SERRunStatus, "has_ended", False)
    assert ser("status", stored_run.file, "--watch").code == 130


def test_every_exit_code_is_documented():
    table = Path("docs/cli.md").read_text().split("## Exit codes")[1].split("An error says")[0]
    documented = {int(number) for row in table.splitlines() if row.startswith("| ") for number in re.findall(r"[0-9]+", row.split("|")[1])}
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SERError)]
    assert documented == {kind.exit_code for kind in kinds} | {0, EXIT_UNREAD, EXIT_SUSPENDED, 130}


def test_a_store_that_is_not_there_is_no_run_that_was_never_started(ser, stored_run):
    store, away = Path(stored_run.run.spec.storage.uri.removeprefix("file://")), stored_run.folder / "away"
    store.rename(away)
    told = ser("status", stored_run.file)
    away.rename(store)  # all tests share this run
    assert told.code == 10
    assert "does not exist" in told.err and "mount or move it back" in told.err
