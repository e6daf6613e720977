"""The page needs nothing else, tells the numbers, and takes data for text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from ser_core.api.status import Phase, SERRunStatus, StoredBytes
from ser_core.report.evidence import Evidence
from ser_core.report.html import render
from ser_core.report.ledger import Ledger


@pytest.fixture(scope="module")
def page(ledger, evidence):
    return render(ledger, evidence, "serrun.yaml")


class Elements(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_nothing_is_loaded_and_nothing_runs(page):
    elements = Elements(page).found
    assert len(elements) > 200
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in elements}
    for _, attributes in elements:
        assert not {name for name in attributes if name in ("src", "href", "action") or name.startswith("on")}
    assert "url(" not in page
    assert "@import" not in page


def test_hostile_text_stays_text(page, hostile):
    assert hostile not in page
    assert page.count("&lt;script&gt;") > 10


def test_a_spec_that_ends_the_page_stays_text(ledger, evidence):
    storage = ledger.run.spec.storage.model_copy(update={"uri": "file:///a</pre><script>alert(1)</script>"})
    run = ledger.run.model_copy(update={"spec": ledger.run.spec.model_copy(update={"storage": storage})})
    assert "<script>" not in render(Ledger(run, ledger.stages), evidence, "</pre><script>")


def test_the_numbers_are_those_of_the_manifests(page, ledger):
    for record in (*ledger.models, *ledger.controls.values()):
        heldout = record.metrics.heldout
        assert f"<td>{heldout.accuracy * 100:.1f} %</td>" in page
        assert f"{heldout.accuracy_low * 100:.1f} to {heldout.accuracy_high * 100:.1f} %" in page
    for record in ledger.filters:
        assert f"{record.metrics.kept} of {record.metrics.labeled} pairs kept" in page
    for record in ledger.stages.values():
        assert record.ref.sha256 in page
    assert "hf://org/tiny@0123" in page
    assert "0:06:18" in page  # nine stages of 42 seconds


def test_what_watches_for_collapse_is_shown_loop_by_loop(page, ledger):
    told = "<td>91.2 %</td><td>95.3 %</td><td>90.9 %</td><td>44</td><td>70.0 %</td><td>0.0025</td><td>1.50</td></tr>"
    for record in ledger.filters:
        assert f"<tr><td>{record.key.iteration}</td>{told}" in page


def test_an_agreement_of_a_pool_that_is_labelled_in_part_says_of_how_many(ledger, evidence):
    loops = tuple(replace(loop, judged=9) for loop in evidence.loops)
    assert "<small>of 9 kept self-labels of loop 2 with a human label</small>" in render(ledger, replace(evidence, loops=loops), "run.yaml")


def test_the_agreement_beside_the_best_accuracy_is_that_of_its_own_loop(ledger, evidence):
    best_is = lambda number: {"status": ledger.run.status.model_copy(update={"best_iteration": number})}  # noqa: E731
    page_of = lambda number: render(Ledger(ledger.run.model_copy(update=best_is(number)), ledger.stages), evidence, "serrun.yaml")  # noqa: E731
    first, second = (record.metrics for record in ledger.filters)

    assert f"<dt>agreement</dt><dd>{first.agreement * 100:.1f} %<small>of {first.kept} kept self-labels of loop 1</small>" in page_of(1)
    assert f"<dt>agreement</dt><dd>{second.agreement * 100:.1f} %<small>of {second.kept} kept self-labels of loop 2</small>" in page_of(2)
    assert "<dt>agreement</dt>" not in page_of(0)  # the seed model has learned from none


def test_what_the_run_stores_is_told_by_kind(page, ledger, evidence):
    status = ledger.run.status.model_copy(update={"stored": StoredBytes(reward_models=2_000_000, records=400_000)})
    told = render(Ledger(ledger.run.model_copy(update={"status": status}), ledger.stages), evidence, "serrun.yaml")
    rows = re.findall(r"<tr><td>([a-z ]+)</td><td>([\d.]+)</td></tr>", told)
    assert rows == [("reward models", "2.0"), ("records", "0.4"), ("together", "2.4")]
    assert "<th>stored</th>" not in page, "its status does not tell"


def test_a_run_of_a_cluster_is_done_again_by_kubectl(page, ledger, evidence):
    again = render(ledger, evidence, None).split("<h2>Do it again</h2>")[1]
    assert "kubectl apply -f again.yaml" in again and "ser run" not in again
    assert "ser run serrun.yaml" in page


def test_texts_have_a_direction_of_their_own_and_turn_nothing(ledger, evidence):
    sample = replace(evidence.samples[0], better_answer="a \u202etxt.exe")
    page = render(ledger, replace(evidence, samples=(sample,)), "serrun.yaml")
    assert '<div class="said" dir="auto">a \\u202etxt.exe</div>' in page
    assert 'class="said">' not in page


def test_equal_ledgers_give_equal_pages(page, ledger, evidence):
    assert render(ledger, evidence, "serrun.yaml") == page


def test_every_chart_is_well_formed_and_within_its_frame(page):
    charts = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert len(charts) == 7
    for chart in charts:
        assert chart.get("aria-label")
        for dot in chart.iter("circle"):
            assert 0 <= float(dot.get("cx")) <= 440
            assert 0 <= float(dot.get("cy")) <= 270


def test_every_measured_share_has_its_interval(page):
    charts = {svg.get("aria-label"): svg for svg in map(ElementTree.fromstring, re.findall(r"<svg.*?</svg>", page, re.DOTALL))}
    whiskers = {title: sum("whisker" in mark.get("class", "") for mark in svg) for title, svg in charts.items()}
    dots = {title: sum("dot" in mark.get("class", "") for mark in svg) for title, svg in charts.items()}
    assert whiskers["Accuracy by loop"] == 3 + 1  # seed, two loops, control
    for title in ("Agreement by confidence", "Calibration on held-out pairs", "Accuracy by length relation"):
        assert whiskers[title] == dots[title] > 0


def test_a_small_temperature_is_not_shown_as_nothing(ledger, evidence):
    first = ledger.models[0]
    cold = replace(first, metrics=first.metrics.model_copy(update={"temperature": 2.5e-05}))
    page = render(replace(ledger, stages={**ledger.stages, first.key: cold}), evidence, "serrun.yaml")
    assert "<td>2.5e-05</td>" in page


def test_no_chart_of_length_where_no_pair_differs_in_length(ledger, evidence):
    models = tuple(replace(model, heldout={**model.heldout, "lengthRelation": []}) for model in evidence.models)
    page = render(ledger, replace(evidence, models=models), "serrun.yaml")
    assert "Length bias" not in page and page.count("<svg") == 6


def test_a_run_that_has_only_begun_has_a_page(ledger):
    run = ledger.run.model_copy(update={"status": SERRunStatus(phase=Phase.PENDING)})
    page = render(Ledger(run, {}), Evidence((), {}, (), (), {}), "serrun.yaml")
    assert "No reward model has been evaluated yet" in page
    assert "<svg" not in page


def test_controls_have_no_dev_accuracy_where_that_of_loops_is_out_of_fold(ledger, evidence):
    without_folds = {
        key: replace(one, metrics=one.metrics.model_copy(update={"folds": None}))
        for key, one in ledger.stages.items()
        if key == ledger.models[0].key
    }

    (told,) = dev_of_full(render(replace(ledger, stages={**ledger.stages, **without_folds}), evidence, "serrun.yaml"))
    (left_out,) = dev_of_full(render(ledger, evidence, "serrun.yaml"))

    assert (bool(told), left_out) == (True, "")


def dev_of_full(page):
    return re.findall(r"<tr><td>full</td><td>[^<]*</td><td>[^<]*</td><td>([^<]*)</td>", page)
