"""The dashboards: committed as the code makes them, legible, and about metrics that exist."""

import json
import re
from pathlib import Path

import pytest

from dashboards import colours
from dashboards.__main__ import FOLDER, texts
from ser_core.api.spec.loop import MAX_ITERATIONS
from ser_core.metrics import METRICS

ROOT = Path(__file__).parents[3]
BOARDS = {name: json.loads(text) for name, text in texts().items()}
PANELS = [panel for board in BOARDS.values() for panel in board["panels"] if panel["type"] != "row"]
EACH_PANEL = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
OF_OTHERS = {"ALERTS", "DCGM_FI_DEV_GPU_UTIL", "process_cpu_seconds_total", "process_resident_memory_bytes"}
IN_NO_PANEL = {
    "ser_run_info",
    "ser_stage_attempt",
    "ser_run_created_timestamp_seconds",
    "ser_run_finished_timestamp_seconds",
}
PALETTE = {value for name, value in vars(colours).items() if name.isupper() and isinstance(value, str)}


def names(expression):
    """Metrics that an expression asks for."""
    without_labels = re.sub(r"\{[^}]*\}", "", expression)
    found = re.findall(r"\b(?:ser|process|DCGM)_\w+|\bALERTS\b", without_labels)
    return {name.removesuffix("_bucket") for name in found}


def options(panel, field):
    """What overrides say of a field by its name."""
    found = [each["properties"] for each in panel["fieldConfig"]["overrides"] if each["matcher"] == {"id": "byName", "options": field}]
    return [(each["id"], each.get("value")) for properties in found for each in properties]


def test_the_committed_boards_are_those_of_the_code():
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == texts(), "run PYTHONPATH=charts python -m dashboards"


@EACH_PANEL
def test_a_panel_says_what_it_shows_and_in_which_unit(panel):
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"


@EACH_PANEL
def test_a_panel_asks_for_metrics_that_exist(panel):
    for target in panel["targets"]:
        assert names(target["expr"])
        assert names(target["expr"]) <= METRICS.keys() | OF_OTHERS


def test_every_metric_is_shown_somewhere():
    asked = {name for panel in PANELS for target in panel["targets"] for name in names(target["expr"])}

    assert METRICS.keys() - asked == IN_NO_PANEL


def test_colours_are_told_apart_by_everybody():
    used = set(re.findall(r'"(#[0-9A-Fa-f]{6})"', "".join(texts().values())))

    assert used <= PALETTE
    assert '"shades"' not in "".join(texts().values()), "shades of one colour are hardly told apart"


@EACH_PANEL
def test_two_lines_of_a_panel_never_share_a_colour(panel):
    fixed = [
        value["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"].get("options") not in ("low", "high")
        for value in override["properties"]
        if value["id"] == "color" and value["value"]["mode"] == "fixed"
    ]

    assert len(fixed) == len(set(fixed))


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_stand_side_by_side(board):
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [(x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]

    assert len(cells) == len(set(cells)), "two panels overlap"
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@EACH_PANEL
def test_shares_have_an_axis_that_ends_near_one(panel):
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["unit"] == "percentunit" and panel["type"] in ("timeseries", "trend"):
        assert "axisSoftMax" in defaults["custom"], "Grafana takes an axis of zeros up to 10000 %"


@EACH_PANEL
def test_loops_are_whole_numbers_without_the_unit_of_the_values(panel):
    if panel["type"] == "trend":
        loops = dict(options(panel, "iteration"))
        assert (loops["unit"], loops["decimals"]) == ("none", 0)
        assert loops["max"] is None, "the panel's is that of the values"
        whole, between = loops["mappings"]
        assert whole["options"].keys() >= {"0", str(MAX_ITERATIONS)}
        assert between["options"]["result"]["text"] == ""


@EACH_PANEL
def test_lines_and_bars_are_named(panel):
    if panel["type"] not in ("stat", "table", "state-timeline"):  # a timeline names its rows
        assert panel["options"]["legend"]["showLegend"]


def test_runbooks_name_panels_that_exist():
    named = re.findall(r"\*([^*]+)\* in the \*(\w+)\* dashboard", (ROOT / "docs" / "runbooks.md").read_text())

    assert {board for _, board in named} == {"Run", "Operator"}
    for title, board in named:
        assert title in {panel["title"] for panel in BOARDS[f"ser-{board.lower()}.json"]["panels"]}


def test_boards_are_found_by_stable_names_and_lead_to_each_other():
    assert {board["uid"] for board in BOARDS.values()} == {"ser-runs", "ser-run", "ser-operator"}
    assert all(board["links"][0]["tags"] == board["tags"] == ["ser"] for board in BOARDS.values())


def test_a_run_opens_from_the_same_prometheus_and_for_the_same_time():
    (table,) = (panel for panel in BOARDS["ser-runs.json"]["panels"] if panel["title"] == "Every run")
    (link,) = dict(options(table, "run"))["links"]

    assert link["url"].endswith("&${datasource:queryparam}&${__url_time_range}")


def test_a_board_asks_no_more_often_than_prometheus_scrapes():
    assert {board["refresh"] for board in BOARDS.values()} == {"30s"}
    rates = [target["expr"] for panel in PANELS for target in panel["targets"] if "rate(" in target["expr"]]
    assert rates
    assert all("[$__rate_interval]" in expression for expression in rates)
