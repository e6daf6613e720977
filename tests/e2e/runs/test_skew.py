"""Operators and stages of different versions on one run: upgrade and rollback in its midst (the long form: `make skew`).

`EARLIER` is the code before versions bore each other, `LATER` this checkout with a field more in the spec, the status and the report of a
stage, and with a phase of its own (`tests/skew/trees.py`). Every stage is read and reported by the code of its image.
"""

import time

import pytest
from skew.cluster import apply_crd, at, operated, skew_cluster
from skew.stages import StagesOf
from skew.trees import COMMITS, later_tree, tree_of

from controlplane.faults.scenario import ROOT


@pytest.fixture(scope="module")
def earlier():
    return tree_of(COMMITS["upgrade_from"])


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    return later_tree(tmp_path_factory.mktemp("later"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A control plane of its own, since the CRD changes with the versions."""
    with skew_cluster(tmp_path_factory.mktemp("skew")) as home:
        yield home


@pytest.fixture
def start(cluster, tmp_path):
    """A scenario with the CRD of one version and stages of another; its operator is chosen by `operated`."""

    def begin(crd, stages):
        apply_crd(cluster.plane, crd)
        cluster.stages = StagesOf(stages)
        return cluster.scenario(tmp_path / "operator")

    return begin


def test_an_upgrade_in_mid_run_goes_on_with_the_stages_that_the_run_began_with(start, cluster, earlier):
    with start(crd=earlier, stages=earlier) as scenario:
        gate = scenario.hold("label")
        with operated(scenario, earlier):
            scenario.apply()
            gate.wait_for_pod(300)
            scenario.wait(at("label"))
        apply_crd(cluster.plane, ROOT)
        with operated(scenario, ROOT):
            gate.release()
            scenario.wait_for_end()
        scenario.check()


def test_a_field_that_the_image_does_not_know_is_refused_by_name_and_a_later_image_goes_on(start, later):
    with start(crd=later, stages=ROOT) as scenario, operated(scenario, later):
        scenario.apply(tally=3)
        (row,) = scenario.wait_for_end()["stages"]
        assert (row["stage"], row["exitCode"], row["reason"]) == ("prepare", 10, "StageImageTooOld")
        assert "spec.tally: needs a stage image that knows it" in row["message"]
        scenario.stages.tree = later
        scenario.patch({"spec": {"reopen": 1}})
        scenario.wait(lambda status: status["phase"] == "Completed")
        scenario.check(charged=range(2))


def test_a_rollback_in_mid_run_goes_on_and_keeps_what_the_later_version_has_written(start, later):
    with start(crd=later, stages=later) as scenario:
        gate = scenario.hold("label")
        with operated(scenario, later):
            scenario.apply()
            gate.wait_for_pod(300)
            assert scenario.wait(at("label"))["phase"] == "Ticking"
        with operated(scenario, ROOT):
            gate.release()
            scenario.wait_for_end()
        scenario.check()
        status = scenario.status()
        assert (status["tally"], {row.get("tally") for row in status["stages"]}) == (7, {1, None})


def test_a_run_that_only_the_later_version_can_read_waits_for_it(start, later):
    with start(crd=later, stages=later) as scenario:
        gate = scenario.hold("label")
        with operated(scenario, later):
            scenario.apply(tally=3)
            gate.wait_for_pod(300)
            before = scenario.wait(at("label"))
        with operated(scenario, ROOT):
            held = scenario.wait(lambda status: "spec.tally" in status.get("message", ""))
            gate.release()
            job = next(row["job"] for row in held["stages"] if row["outcome"] == "Running")
            scenario.wait(lambda _: scenario.job(job)["status"].get("succeeded"))
            time.sleep(3)
            told = {one["type"]: one["reason"] for one in scenario.status()["conditions"] if one["status"] == "True"}
            assert told == {"Stalled": "SpecUnknownField"}
            assert (held["phase"], held["stages"], held["tally"]) == ("Waiting", before["stages"], before["tally"])
            assert len(scenario.jobs()) == 3
        with operated(scenario, later):
            scenario.wait_for_end()
        scenario.check()


@pytest.mark.parametrize("spec", [{}, {"tally": 3}], ids=["read", "not-read"])
def test_a_run_that_a_later_version_has_ended_stays_as_it_is(start, later, spec):
    with start(crd=later, stages=later) as scenario:
        with operated(scenario, later):
            scenario.apply(**spec)
            scenario.wait_for_end()
        before = scenario.run()
        with operated(scenario, ROOT) as proxy:
            scenario.wait(lambda _: proxy.requests["WATCH"] >= 3)  # runs, Jobs and pods: it has read them before
            time.sleep(3)
            assert proxy.writes() == []
        assert scenario.run() == before
        scenario.check()
