"""What is said of the groups that held-out pairs are in."""

import pytest

from ser_core.data.preparing.split_warnings import grouped


@pytest.mark.parametrize(("pairs", "groups"), [(9, 6), (15, 8), (17, 9), (9, 9), (200, 9)])
def test_of_few_groups_no_interval_is_to_be_trusted_however_few_pairs_there_are(pairs, groups):
    (told,) = grouped(pairs, groups, "prompt")
    assert told.startswith(f"the {pairs} held-out pairs are in {groups} groups by prompt: ")
    assert "of fewer than 10 they are not to be trusted" in told


def test_many_groups_are_told_where_most_pairs_share_theirs():
    assert "pairs of one are right or wrong together" in grouped(40, 20, "prompt")[0]
    assert grouped(40, 21, "prompt") == []


def test_groups_of_a_column_called_group_are_not_named_twice():
    assert grouped(40, 5, "group")[0].startswith("the 40 held-out pairs are in 5 groups: ")
