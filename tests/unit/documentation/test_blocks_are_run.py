"""Every block of the documents is run by some test, and who adds one that nothing runs is told here."""

import argparse
import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT, blocks, lines
from unit.cli.commands.test_documented_examples import documented

TESTS = ROOT / "tests"
DRAWINGS = {"Architecture", "The operator", "The processes of a stage on a cluster"}
BENCHMARK, MAKE, PLAIN_PYTHON = "benchmarks", "make", "python -c"


def kind(words):
    """What a command that takes too long for a test is, or whose data are not here; None for all others, which are run."""
    if words[0] == "make":
        return MAKE
    if Path(words[0]).name == "python" and (words[1] == "-m" or words[1].startswith("benchmarks/")):
        return BENCHMARK
    return PLAIN_PYTHON if words[:2] == ["python", "-c"] else None


def without_variables(words):
    return words[1:] if words[0].startswith("PYTHONPATH=") else words


BASH = [(one, [(kind(words), words) for words in map(without_variables, lines(one.text))]) for one in blocks() if one.language == "bash"]


def dry(wanted):
    return [pytest.param(words, id=" ".join(words)[:60]) for _, commands in BASH for found, words in commands if found == wanted]


def asked_for():
    """What tests ask `shown` for, literally."""
    for file in sorted(TESTS.rglob("*.py")):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if "shown(" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "shown":
                document, heading, language, number = *(ast.literal_eval(word) for word in node.args), *("bash", 0)[len(node.args) - 2 :]
                yield document, heading, language, number


def key(block):
    return block.document, block.heading, block.language, block.number


def test_every_block_is_asked_for_by_a_test():
    dry_ones = {key(one) for one, commands in BASH if all(found for found, _ in commands)}
    drawings = {key(one) for one in blocks() if not one.language and one.heading in DRAWINGS and one.document == "docs/architecture.md"}
    golden = {key(one) for one in blocks() if one.language == "console" and one.document == "docs/cli.md"}
    every, asked = {key(one) for one in blocks()}, set(asked_for())
    assert sorted(every - asked - dry_ones - drawings - golden) == [], "no test runs these; let one ask for them by documents.shown"
    assert sorted(asked - every) == [], "tests ask for these, and no document has them"


def test_every_console_block_is_compared_with_a_golden_file():
    """`unit/cli/test_documented_examples.py` calls what `documented` finds."""
    shown = [lines(one.text.splitlines()[0].removeprefix("$ "))[0] for one in blocks() if one.language == "console"]
    assert sorted(shown) == sorted(lines(command)[0] for command, _ in documented().values())
    calls = (TESTS / "unit" / "cli" / "commands" / "test_documented_examples.py").read_text()
    assert [name for name in documented() if f'"{name}"' not in calls] == []


@pytest.mark.parametrize("words", dry(MAKE))
def test_make_knows_what_to_do(words):
    ended = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr


class Parsed(Exception):
    """The command line was taken; nothing is measured."""


@pytest.mark.parametrize("words", dry(BENCHMARK))
def test_a_benchmark_takes_its_command_line(monkeypatch, words):
    parse = argparse.ArgumentParser.parse_args

    def parse_alone(self, *arguments):
        raise Parsed(parse(self, *arguments))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
    monkeypatch.syspath_prepend(str(ROOT))
    module = words[1] == "-m"
    monkeypatch.setattr(sys, "argv", words[2:] if module else words[1:])
    for imported in (words[2], f"{words[2]}.__main__") if module else ():  # by another test
        monkeypatch.delitem(sys.modules, imported, raising=False)
    with pytest.raises(Parsed):
        runpy.run_module(words[2], run_name="__main__") if module else runpy.run_path(str(ROOT / words[1]), run_name="__main__")


@pytest.mark.parametrize("words", dry(PLAIN_PYTHON))
def test_a_line_of_python_prints_a_figure(words):
    ended = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, timeout=120, check=True)
    assert float(ended.stdout) > 0
