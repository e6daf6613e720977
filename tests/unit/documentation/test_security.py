"""docs/security.md promises nothing without a test, and `make attack` tries what it names."""

import ast
from pathlib import Path

import pytest
from attack.catalogue import MANUAL, Attack, attacks, named_in

ROWS = attacks(MANUAL.read_text(encoding="utf-8"))
KINDS = {"specs", "models and hubs", "data files and archives", "stores and manifests", "terminals", "policies", "clusters"}
UNDEFENDED = "## What we do not defend against"


def names_in(path):
    return {node.name for node in ast.walk(ast.parse(Path(path).read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_kind_of_attack_is_in_the_catalogue():
    assert {row.kind for row in ROWS} == KINDS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what[:40])
def test_every_attack_names_a_test_that_exists(row):
    assert row.tests, row.what
    for test in row.tests:
        path, _, name = test.partition("::")
        assert Path(path).is_file(), path
        assert not name or name in names_in(path), test


def test_every_promise_outside_of_the_tables_names_its_test_too():
    promises = MANUAL.read_text(encoding="utf-8").partition("## Credentials")[2].partition(UNDEFENDED)[0]
    paragraphs = [text for text in promises.split("\n\n") if text.strip()]
    assert paragraphs
    assert [text for text in paragraphs if not named_in(text)] == []


def test_a_row_is_read_with_its_kind_and_those_of_its_tests_that_need_no_cluster():
    text = (
        "### specs\n\n| attack | what | proved by |\n|---|---|---|\n| a | b \\| c | `tests/e2e/a.py`, `tests/x/b.py::test_c` (fuzzed) |\n"
    )
    assert attacks(text) == [Attack("specs", "a", ("tests/e2e/a.py", "tests/x/b.py::test_c"))]
    assert attacks(text)[0].here == ("tests/x/b.py::test_c",)
