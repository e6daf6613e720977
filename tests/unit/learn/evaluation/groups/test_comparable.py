"""Which pairs two runs hold together."""

from ser_core.learn.evaluation.groups.comparable import joined_groups


def test_pairs_that_either_run_holds_together_are_together_also_through_others():
    topics, authors = {"a": "a", "b": "a", "c": "c", "d": "d"}, {"a": "a", "b": "b", "c": "b", "d": "d"}
    assert joined_groups("abcde", [topics, authors]) == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e"}
    assert set(joined_groups("abcde", [authors, topics]).values()) == {"a", "d", "e"}


def test_groups_of_equal_names_in_two_runs_are_not_the_same():
    assert len(set(joined_groups("abc", [{"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "3", "c": "2"}]).values())) == 3
