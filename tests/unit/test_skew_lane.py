"""A clone without the commits that tests/skew/commits.toml names."""

import pytest
from lanes import REQUIRED
from skew import trees


@pytest.mark.parametrize(("required", "end"), [("", pytest.skip.Exception), ("required", pytest.fail.Exception)])
def test_a_clone_without_the_commit_says_so_and_how_to_get_it(monkeypatch, tmp_path, required, end):
    monkeypatch.setenv("SER_TEST_CACHE", str(tmp_path))
    monkeypatch.setenv(REQUIRED, required)
    monkeypatch.setattr(trees, "_git", lambda *_: False)
    with pytest.raises(end, match=r"commit 000000000000 of tests/skew/commits\.toml is not in this clone: git fetch --unshallow"):
        trees.tree_of("0" * 40)


def test_the_later_version_can_still_be_made_of_this_one(tmp_path):
    assert '"tally"' in trees.crd_of(trees.later_tree(tmp_path / "later"))
