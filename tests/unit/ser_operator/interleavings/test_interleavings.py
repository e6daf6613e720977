"""Whatever comes late, twice, in another order or not at all: no run is lost, none is told wrong things, no Job is made twice."""

from hypothesis import given
from hypothesis import strategies as st
from odd.serruns import some

from ser_operator.facts.reading import uid

from .promises import check_cache, check_rest
from .story import tell


@some(15)
@given(st.integers(0, 2**32))
def test_an_operator_that_hears_late_does_what_one_does_that_hears_at_once(seed):
    story = tell(seed)
    server, cache = story.server, story.process.cache
    try:
        for key, run in server.runs.items():
            check_rest(server, run, story.hears_at_once)
            assert uid(cache.run(key)) == uid(run)
        check_cache(server, cache)
        assert server.doubles == []
        assert max(story.controllers.stages.executed.values(), default=1) == 1
    except AssertionError as error:
        error.add_note("\n".join(server.history))
        raise
