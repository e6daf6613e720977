"""What people see, character by character, at fixed widths."""

import io
import json
import re
from datetime import UTC, datetime

import pytest
from rich.console import Console

from ser_core.api.status import ControlStatus, CountedStatus, LearningStatus, PolicyStatus, SERRunStatus, StoredBytes
from ser_core.cli.access.local_executor import StageEvent
from ser_core.cli.views.display import JsonDisplay, LiveDisplay
from ser_core.cli.views.evolution_view import evolution_view, taken_over_view
from ser_core.cli.views.status_view import Details, status_view

NOW = datetime(2026, 1, 31, 12, 25, tzinfo=UTC)


@pytest.fixture
def run(stored_run):
    """The stored run as if it lay in a bucket."""
    run = stored_run.run
    model = run.status.reward_model.model_copy(
        update={"uri": "s3://bucket/runs/default/small/0123456789abcdef/iter-0002/retrain/MANIFEST.json"}
    )
    storage = run.spec.storage.model_copy(update={"uri": "s3://bucket/runs"})
    status = run.status.model_copy(update={"reward_model": model})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"storage": storage}), "status": status})


def printed(view, width):
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False)
    console.print(view, crop=False)
    return console.file.getvalue()


def test_status(run, golden):
    golden("status.txt", printed(status_view(run, NOW), 100))


def test_status_says_how_much_of_the_deadline_is_used_the_live_attempt_included(run):
    counted = CountedStatus(to="2026-01-31T12:30:00Z", admitted_seconds=600)
    status = run.status.model_copy(update={"admitted_seconds": 3600.0, "counted": counted})
    limited = run.model_copy(update={"spec": run.spec.model_copy(update={"active_deadline": "36h"}), "status": status})

    assert "deadline      stages ran for 1 h 10 min of 36h" in printed(status_view(limited, NOW), 100)


def test_status_says_what_the_run_stores(run):
    stored = StoredBytes(base_models=90_000_000, reward_models=1_200_000_000)
    status = run.status.model_copy(update={"stored": stored})

    told = "stored        1,290.0 MB: reward models 1,200.0, base models 90.0\n"
    assert told in printed(status_view(run.model_copy(update={"status": status}), NOW), 100)


def test_status_of_a_run_that_has_not_begun(run, golden):
    golden("status_pending.txt", printed(status_view(run.model_copy(update={"status": SERRunStatus()}), NOW), 100))


def test_cut_pairs_are_told_in_status_and_evolution(run):
    model = run.status.reward_model.model_copy(update={"cut_fraction": 0.125})
    status = run.status.model_copy(update={"reward_model": model})
    told = "12.5% of its training pairs were cut to rewardModel.maxLength"
    assert told in printed(status_view(run.model_copy(update={"status": status}), NOW), 100)
    assert told in printed(evolution_view(status, None, 80), 80)


def test_where_the_log_loss_decides_its_gain_is_shown(run):
    rows = tuple(row.model_copy(update={"folds": 4, "gain": -0.5, "loss_gain": 0.012}) for row in run.status.iterations)
    shown = printed(evolution_view(run.status.model_copy(update={"iterations": rows}), None, 80), 80)
    assert ("+0.012" in shown, "-0.5" in shown, "gain: in log loss" in shown) == (True, False, True)


def test_a_loop_whose_pairs_meet_no_status_shows_none(run):
    rows = tuple(row.model_copy(update={"learning_status": LearningStatus.NEITHER}) for row in run.status.iterations)
    shown = printed(evolution_view(run.status.model_copy(update={"iterations": rows}), None, 80), 80)
    assert next(line.split()[1] for line in shown.splitlines() if line.startswith("1 ")) == "–"


def test_what_intervals_rest_on_is_told_in_the_evolution(run):
    assert "\nthe 200 held-out pairs are in 9 groups\n" in printed(
        evolution_view(run.status, None, 80, ["the 200 held-out pairs are in 9 groups"]), 80
    )


def test_trainings_that_were_repeated_are_counted_in_the_evolution(run):
    rows = tuple(row.model_copy(update={"repeated": row.iteration or None}) for row in run.status.iterations)
    shown = printed(evolution_view(run.status.model_copy(update={"iterations": rows}), None, 80), 80)
    assert "trainings that collapsed and were repeated: 1 of loop 1, 2 of loop 2\n" in shown


def test_a_best_model_that_may_be_a_coin_is_told_in_the_evolution(run):
    def evolution(interval):
        rows = tuple(row.model_copy(update=interval) for row in run.status.iterations)
        return printed(evolution_view(run.status.model_copy(update={"iterations": rows}), None, 80), 80)

    assert "coin" not in evolution({})
    assert "best: it may be no better than a coin: its held-out interval reaches one half" in evolution({"accuracy_low": 0.5})
    assert "best: it is right on no held-out pair; equal scores count as wrong" in evolution({"accuracy": 0.0, "accuracy_low": 0.0})
    assert "best: it is worse than a coin: its held-out interval lies below one half" in evolution(
        {"accuracy_low": 0.0, "accuracy_high": 0.05}
    )
    assert "best: it does not hold: each of its trainings has collapsed" in evolution({"collapsed": True})


def test_what_others_have_written_begins_no_line_of_its_own(run):
    """Who may write Events, a lock or a manifest would else answer in the place of the command."""
    forged = "a\nFORGED"
    stages = tuple(row.model_copy(update={"message": forged}) for row in run.status.stages)
    told = run.model_copy(update={"status": run.status.model_copy(update={"message": forged, "stages": stages})})
    event = {"reason": forged, "message": forged, "lastTimestamp": forged}
    details = Details(next_step=forged, runner=forged, events=(event,))
    views = (status_view(told, NOW, details, verbose=True), taken_over_view({forged: forged}))
    lines = [line for view in views for line in printed(view, 100).splitlines()]

    assert sum("FORGED" in line for line in lines) == 6
    assert [line for line in lines if line.startswith("FORGED")] == []


def test_evolution_fits_80_columns(run, golden):
    text = printed(evolution_view(run.status, 0.517, 80), 80)
    assert "…" not in text
    golden("evolution.txt", text)


def test_evolution_with_all_controls_fits_80_columns(run, golden):
    others = [ControlStatus(control=name, accuracy=0.7, accuracy_low=0.65, accuracy_high=0.75) for name in ("seedOnly", "pseudoLabelOnce")]
    status = run.status.model_copy(update={"controls": (*run.status.controls, *others)})
    text = printed(evolution_view(status, 0.517, 80), 80)
    assert "…" not in text
    golden("evolution_controls.txt", text)
    narrow = printed(evolution_view(status, 0.517, 60), 60)
    assert "…" not in narrow
    assert "threshold" not in narrow


def test_small_numbers_are_not_shown_as_nothing(run):
    row = run.status.iterations[-1].model_copy(update={"temperature": 0.0042})
    policy = PolicyStatus.model_validate(
        {"uri": "s3://a/b", "manifestSHA256": "0" * 64, "score": 1.2, "baselineScore": 0.1, "kl": 0.0031, "steps": 3}
    )
    status = run.status.model_copy(update={"iterations": (row,), "policy": policy, "gpu_hours": 0.0007})
    told = printed(evolution_view(status, None, 80), 80)
    assert "0.0042" in told
    assert "KL 0.0031 nats" in told
    assert "GPU-hours     0.0007\n" in printed(status_view(run.model_copy(update={"status": status}), NOW), 100)


def test_a_small_temperature_is_whole_at_80_columns(run):
    others = [ControlStatus(control=name, accuracy=0.7, accuracy_low=0.65, accuracy_high=0.75) for name in ("seedOnly", "pseudoLabelOnce")]
    rows = tuple(row.model_copy(update={"temperature": 2.5e-05}) for row in run.status.iterations)
    status = run.status.model_copy(update={"iterations": rows, "controls": (*run.status.controls, *others)})
    told = printed(evolution_view(status, 0.517, 80), 80)
    assert told.count("2.5e-05") == len(rows)
    assert "…" not in told


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_of_a_run_fits_the_terminal(run, stored_run, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    display = LiveDisplay()
    display.ended_before(run, "")
    display.ended(run, stored_run.store, "")
    told = capsys.readouterr().out
    assert len(re.findall(r"0\.890\b", told)) == 2
    assert "…" not in told


def test_sentences_are_wrapped_at_80_columns_however_wide_the_output_is(run):
    long = run.model_copy(update={"status": run.status.model_copy(update={"message": "word " * 60})})
    assert max(len(line) for line in printed(status_view(long, NOW), 200).splitlines() if "word" in line) <= 80


def test_evolution_before_the_first_result(golden):
    golden("evolution_empty.txt", printed(evolution_view(SERRunStatus(), None, 80), 80))


def test_a_message_in_square_brackets_is_no_markup(run):
    told = run.model_copy(update={"status": run.status.model_copy(update={"message": "[store] did not answer"})})
    assert "[store] did not answer" in printed(status_view(told, NOW), 120)


def test_of_progress_the_first_line_the_last_and_one_in_ten_seconds_are_printed(capsys):
    seconds = iter(range(0, 100, 4))
    display = JsonDisplay(clock=lambda: next(seconds))
    for step in range(8):
        display.stage_event(StageEvent("retrain-0", "progress", {"step": step, "total": 7, "unit": "pairs"}))
    assert [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()] == [0, 3, 6, 7]
