"""From `kubectl apply` by README's words to an aligned policy: every stage a pod of the stage image, everything in S3, and all of it on
Grafana's boards. Last of all, since it goes on beside the other stories."""

import os
from pathlib import Path

import pytest
from lanes import cannot_run

from boards.build import missing
from boards.scraping import AFTER_ITS_END, WHILE_NONE_WAITS
from boards.verdict import faults


def test_readmes_run_with_sft_and_ppo_is_completed(whole, follow, readme):
    """Expected: README's last command watches it to its end; nine stages, each done by its first attempt, nothing charged."""
    said = follow(readme.watch)
    status = whole.status()

    assert status["phase"] == "Completed", whole.told()
    assert "Completed" in said
    assert [row["iteration"] for row in status["iterations"]] == [0, 1]
    assert status["policy"]["steps"] == 60
    assert [row for row in status["stages"] if row.get("charged") or row["attempt"] > 1] == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Where the boards are drawn to."""
    if reason := missing():
        cannot_run(reason)
    folder = os.environ.get("SER_PICTURES")
    return Path(folder) if folder else tmp_path_factory.mktemp("boards")


def test_every_panel_of_the_run_has_data(whole, scraped, pictures):
    whole.end()
    scraped.now(f'ser_run_phase{{run="{whole.name}", phase="Completed"}}')

    only_one_loop = {"Labels, confidence and truth"}  # no labels of a loop before
    assert not faults(scraped.drawn("ser-run", pictures / "node-run.png"), AFTER_ITS_END | only_one_loop)


def test_every_panel_of_the_fleet_has_data(whole, scraped, pictures):
    """As somebody sees it who looked while a stage was last at work, after attempts had failed and runs had waited in other stories."""
    before = "and on () ser_run_failed_attempts and on () last_over_time(ser_run_waiting_seconds[1h])"
    at_work = scraped.last(f"ser_run_progress_ratio {before}")
    empty = () if scraped.holds("ser_run_waiting_seconds", at_work) else WHILE_NONE_WAITS

    assert not faults(scraped.drawn("ser-runs", pictures / "node-runs.png", at_work), empty)


def test_every_panel_of_the_operator_has_data(whole, scraped, pictures):
    """As somebody sees it who looked while it last had something to do. A rate outlives a pod that goes; its other values do not."""
    at_work = scraped.last("sum(rate(ser_operator_reconciles_total[8s])) > 0 and on () count(ser_operator_runs)")

    assert not faults(scraped.drawn("ser-operator", pictures / "node-operator.png", at_work))
