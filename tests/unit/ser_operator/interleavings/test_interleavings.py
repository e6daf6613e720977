"""Whatever comes late, twice, in another order or not at all: no run is lost, none is told wrong things, no Job is made twice."""

from hypothesis import given
from hypothesis import strategies as st
from odd.serruns import some

from ser_core.api.status import Phase, SERRunStatus
from ser_operator.facts.cache import resource_version
from ser_operator.facts.reading import uid

from .late_cluster import KINDS
from .story import tell

STAGES = 5  # prepare, retrain, label, filter, retrain


@some(40)
@given(st.integers(0, 2**32))
def test_an_operator_that_hears_late_does_what_one_does_that_hears_at_once(seed):
    story = tell(seed)
    cluster, cache = story.cluster, story.cache
    try:
        for key, run in cluster.runs.items():
            check_run(cluster, run, SERRunStatus.model_validate(run["status"]))
            assert uid(cache.run(key)) == uid(run)
        for kind in KINDS:
            assert cache._versions[kind] == {uid(one): resource_version(one) for one in cluster.things(kind).values()}, kind
        assert cluster.doubles == []
        assert max(cluster.stages.executed.values(), default=1) == 1
    except AssertionError as error:
        error.add_note("\n".join(cluster.history))
        raise


def check_run(cluster, run, status):
    assert status.phase is Phase.COMPLETED
    assert not any(stage.charged for stage in status.stages)
    if uid(run) not in cluster.meddled:
        assert len(cluster.jobs_of[uid(run)]) == STAGES
        assert status.admitted_seconds == cluster.ran[uid(run)]
