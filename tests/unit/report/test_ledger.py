"""Reading the committed stages back, whatever became of the run."""

import shutil

import pytest

from ser_core.api.serrun import SERRun
from ser_core.api.spec.storage import StorageSpec
from ser_core.api.status import SERRunStatus
from ser_core.errors import CorruptObject, SpecError
from ser_core.report.evidence import MAX_POINTS, read_evidence, spread, thinned
from ser_core.report.ledger import read_ledger
from ser_core.store.objects.connect import connect


@pytest.fixture
def copy(stored_run, tmp_path):
    """The stored run's files, to be damaged."""
    shutil.copytree(stored_run.folder / "store", tmp_path / "store")
    return tmp_path / "store"


def opened(folder):
    return connect(StorageSpec(uri=f"file://{folder}"))


def test_stages_come_in_the_order_in_which_they_ran(ledger):
    assert [str(key) for key in ledger.stages] == [
        "prepare",
        "retrain of the seed model",
        "label of loop 1",
        "filter of loop 1",
        "retrain of loop 1",
        "label of loop 2",
        "filter of loop 2",
        "retrain of loop 2",
        "control-full",
    ]


def test_the_best_model_is_the_planners(ledger):
    assert ledger.best.key.iteration == ledger.run.status.best_iteration == 2
    assert list(ledger.controls) == ["full"]
    assert ledger.stages[ledger.best.key].seconds == 42


def test_a_run_that_has_not_got_far_has_a_ledger(stored_run, copy):
    for folder in ("iter-0001", "iter-0002", "iter-0000/control-full"):
        shutil.rmtree(next(copy.rglob(folder)))
    young = stored_run.run.model_copy(update={"status": SERRunStatus()})
    ledger = read_ledger(opened(copy), young)
    assert [str(key) for key in ledger.stages] == ["prepare", "retrain of the seed model"]


def test_a_run_that_never_began_has_an_empty_ledger(stored_run):
    unknown = stored_run.run.metadata.model_copy(update={"uid": "another"})
    ledger = read_ledger(stored_run.store, SERRun(metadata=unknown, spec=stored_run.run.spec))
    assert not ledger.stages
    with pytest.raises(SpecError, match="no reward model yet"):
        ledger.best_model()


def test_a_damaged_table_is_named(stored_run, copy, tmp_path):
    damaged = next(copy.rglob("decisions.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptObject, match=r"decisions\.parquet"):
        read_evidence(opened(copy), read_ledger(opened(copy), stored_run.run), tmp_path / "evidence")


def test_bands_and_statuses_account_for_every_pair(evidence):
    for loop in evidence.loops:
        metrics = loop.record.metrics
        for groups in (loop.bands, loop.statuses):
            assert sum(group.labeled for group in groups) == metrics.labeled
            assert sum(group.kept for group in groups) == metrics.kept
        agreeing = sum(group.agreeing for group in loop.bands)
        assert agreeing / metrics.labeled == pytest.approx(metrics.agreement_all)
        assert loop.statuses[0].labeled == metrics.status1


def test_a_band_stands_at_the_mean_confidence_of_its_pairs(evidence):
    (loop, *_) = evidence.loops
    drawn = [band for band in loop.bands if band.known]
    lows = [float(band.name.partition("–")[0]) for band in drawn]
    highs = [float(band.name.partition("–")[2]) for band in drawn]

    assert drawn
    assert all(low <= band.confidence <= high for low, band, high in zip(lows, drawn, highs, strict=True))
    assert sum(band.confidence * band.known for band in drawn) == pytest.approx(
        sum(s.confidence * s.known for s in loop.statuses if s.known)
    )


def test_samples_are_kept_and_dropped_pairs_from_most_to_least_confident(evidence):
    assert [sample.kept for sample in evidence.samples] == [True] * 4 + [False] * 4
    confidences = [sample.confidence for sample in evidence.samples]
    assert confidences == sorted(confidences, reverse=True)
    assert all(sample.better_score >= sample.worse_score for sample in evidence.samples)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_spread_takes_first_and_last_and_no_member_twice(count):
    import numpy as np

    chosen = list(spread(np.arange(count)))
    assert len(chosen) == len(set(chosen)) == min(count, 4)
    assert not count or {chosen[0], chosen[-1]} == {0, count - 1}


def test_a_long_curve_is_averaged_and_a_short_one_kept():
    import numpy as np

    steps = np.arange(1000)
    curve = thinned(steps, steps.astype(float))
    assert len(curve) == MAX_POINTS
    assert all(step == loss for step, loss in curve)
    assert thinned(steps[:3], steps[:3] * 2.0) == ((0.0, 0.0), (1.0, 2.0), (2.0, 4.0))
