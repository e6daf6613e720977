"""docs/security.md promises nothing without a test, and `make attack` tries what it names."""

import ast
from pathlib import Path

import pytest
from attack.catalogue import MANUAL, Attack, attacks, named_in

from ser_core.api.run_template import MAX_BYTES as OF_A_TEMPLATE
from ser_core.cli.access.serrun_file import MAX_BYTES as OF_A_FILE
from ser_core.data.reading.hub.watch import PATIENCE
from ser_core.data.reading.models import refusals
from ser_core.learn.base_models import harm
from ser_core.loop.recording.trimming import MAX_BYTES as OF_A_STATUS

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


@pytest.mark.parametrize(
    ("sentence", "number"),
    [
        ("a file has at most 1 MB", OF_A_FILE == 1_000_000),
        (
            "a minute of silence or a minute that brings less than 1 MiB",
            PATIENCE.silence == PATIENCE.window == 60 and PATIENCE.least == 2**20,
        ),
        ("files of more than 64 MiB that are no weights are not read", refusals._MOST_BYTES == 64 * 2**20),
        ("a process of 120 s of processor time and 8 GB", (harm.TRIAL_SECONDS, harm.TRIAL_GIGABYTES) == (120, 8)),
        ("more than 20,000 tokens of a line", harm._MOST_TOKENS == 20_000),
        ("a status stays under 32 KiB", OF_A_STATUS == 32 * 1024),
        ("which has at most 8 KiB", OF_A_TEMPLATE == 8 * 1024),
    ],
)
def test_a_number_of_the_manual_is_that_of_the_code(sentence, number):
    assert sentence in MANUAL.read_text(encoding="utf-8")
    assert number
