"""What an attempt has taken: only what runs counts, once, whoever looks how often, and also when the one who looked starts anew."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.api.status import CountedStatus, StageKind
from ser_core.loop.deciding.spent import COUNTED_EVERY, Spent, count, count_to, runs, spent
from ser_core.loop.observed import Leg, ObservedAttempt

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds):
    return BEGIN + timedelta(seconds=seconds)


def leg(begin, end=None, gone=False):
    return Leg(at(begin), None if end is None else at(end), gone)


def seen(*legs, pods=1, state="running"):
    return ObservedAttempt(0, StageKind.RETRAIN, 1, "job", state, legs=legs, pods=pods)


def hours(gpu_seconds):
    return pytest.approx(gpu_seconds / 3600, abs=1e-5)


def test_an_attempt_of_which_no_pod_has_run_has_taken_nothing():
    assert spent(8, None, seen(), at(7200)) == spent(8, None, None, at(7200)) == Spent()
    assert not runs(seen())


def test_each_pod_of_a_gang_holds_its_gpus_from_its_own_start_to_its_own_end():
    taken = spent(8, None, seen(leg(0, 100), leg(40), pods=2), at(60))

    assert (taken.seconds, taken.gpu_hours) == (60, hours(4 * 60 + 4 * 20))


def test_the_time_between_two_admissions_is_not_counted():
    taken = spent(2, None, seen(leg(0, 10, gone=True), leg(3610)), at(3620))

    assert (taken.seconds, taken.gpu_hours) == (20, hours(2 * 20))


def test_what_a_gone_pod_has_taken_is_kept_at_once_and_what_runs_every_ten_minutes():
    early, late = at(20), BEGIN + COUNTED_EVERY
    assert count(1, None, seen(leg(0)), early) is None
    assert count(1, None, seen(leg(0, 10)), early) is None  # its pod can still be seen
    assert count(1, None, seen(leg(0, 10, gone=True), leg(12)), early) == CountedStatus(
        to="2026-01-31T12:00:10Z", admitted_seconds=10, gpu_hours=round(10 / 3600, 6)
    )
    kept = count(1, None, seen(leg(0)), late)
    assert (kept.to, kept.admitted_seconds) == ("2026-01-31T12:10:00Z", 600)
    assert count(1, kept, seen(leg(0)), late + timedelta(seconds=599)) == kept


def test_an_executor_that_starts_anew_and_finds_no_pod_loses_nothing_that_was_kept():
    kept = count_to(at(50), 4, None, seen(leg(0)))

    assert spent(4, kept, None, at(9000)) == spent(4, kept, seen(), at(9000)) == Spent(50, round(200 / 3600, 6))


def test_the_end_that_a_pod_tells_is_believed_when_its_clock_is_ahead():
    assert spent(0, None, seen(leg(5, 15), state="failed"), at(10)).seconds == 10


PODS = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(0, 2000), st.booleans()).map(lambda pod: leg(pod[0], pod[0] + pod[1], pod[2])), max_size=6
)


def visible(legs, now, forgotten):
    """What an executor shows at a moment: pods that have begun; one that started anew knows none that is gone."""
    begun = [one for one in legs if one.begin <= now]
    there = [replace(one, end=None, gone=False) if one.end > now else one for one in begun]
    return seen(*(one for one in there if not (forgotten and one.gone)), pods=2)


def directly(legs):
    """Seconds in which a pod runs, and seconds of all pods, counted from one start or end to the next."""
    moments = sorted({moment for one in legs for moment in (one.begin, one.end)})
    steps = [((after - before).total_seconds(), sum(one.begin <= before < one.end for one in legs)) for before, after in pairwise(moments)]
    return sum(seconds for seconds, running in steps if running), sum(seconds * running for seconds, running in steps)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(legs=PODS, looks=st.lists(st.integers(0, 5000), max_size=12).map(sorted))
def test_however_often_one_looks_the_sum_is_the_same(legs, looks):
    kept, before = None, Spent()
    for moment in map(at, looks):
        now = visible(legs, moment, forgotten=False)
        taken = spent(4, kept, now, moment)
        assert taken.seconds >= before.seconds >= 0
        assert taken.gpu_hours >= before.gpu_hours - 1e-5
        kept, before = count(4, kept, now, moment), taken
        assert count(4, kept, now, moment) == kept

    seconds, of_all = directly(legs)
    last = spent(4, kept, visible(legs, at(5001), forgotten=False), at(5001))
    assert (last.seconds, last.gpu_hours) == (seconds, hours(2 * of_all))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(legs=PODS, looks=st.lists(st.tuples(st.integers(0, 5000), st.booleans()), min_size=1, max_size=12).map(sorted))
def test_a_restart_in_the_middle_counts_nothing_twice_and_takes_nothing_back(legs, looks):
    kept, before = None, Spent()
    for seconds, restarted in looks:
        moment = at(seconds)
        now = visible(legs, moment, forgotten=restarted)
        known = kept
        kept = count(4, kept, now, moment)
        if known is not None:
            assert (kept.admitted_seconds, kept.gpu_hours) >= (known.admitted_seconds, known.gpu_hours - 1e-9)
        before = spent(4, kept, now, moment)

    most, of_all = directly(legs)
    assert before.seconds <= most
    assert before.gpu_hours <= 2 * of_all / 3600 + 1e-5


@settings(max_examples=200, deadline=None, derandomize=True)
@given(legs=PODS, at_second=st.integers(0, 5000))
def test_a_restart_after_all_was_kept_changes_nothing(legs, at_second):
    moment = at(at_second)
    kept = count_to(moment, 4, None, visible(legs, moment, forgotten=False))
    rest = [one for one in legs if one.end > moment or not one.gone]

    seconds, of_all = directly(legs)
    last = spent(4, kept, visible(rest, at(5001), forgotten=False), at(5001))
    assert (last.seconds, last.gpu_hours) == (seconds, hours(2 * of_all))


def test_an_end_that_a_pods_clock_puts_later_than_now_is_not_counted_yet():
    assert count(1, None, seen(leg(0, 30, gone=True), leg(10)), at(20)) is None
