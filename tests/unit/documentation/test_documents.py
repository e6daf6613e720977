"""What the documents show works: their SERRuns are valid, their commands exist, their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from ser_core.api.serrun import KIND, SERRun
from ser_core.cli.app import app

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#]*)(#[^)]*)?\)")


def named(cases):
    return [pytest.param(*case, id=f"{case[0].name}-{number}") for number, case in enumerate(cases)]


def blocks(language):
    return [(document, text) for document in DOCUMENTS for found, text in FENCE.findall(document.read_text()) if found == language]


def anchors(document):
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def lines_of_bash():
    for document, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield document, words


def names_of(group):
    return group.commands if isinstance(group, typer.core.TyperGroup) else {}


@pytest.mark.parametrize(("document", "text"), named(blocks("yaml")))
def test_every_serrun_that_is_shown_is_valid(document, text):
    for shown in yaml.safe_load_all(text):
        if isinstance(shown, dict) and shown.get("kind") == KIND:
            SERRun.model_validate(shown)


def test_every_ser_command_that_is_shown_exists():
    commands = names_of(typer.main.get_command(app))
    shown = [(document.name, words) for document, words in lines_of_bash()]
    called = [(name, words[words.index(tool) + 1]) for name, words in shown for tool in ("ser", ".venv/bin/ser") if tool in words[:2]]
    assert len(called) > 5
    assert [(name, command) for name, command in called if command not in commands and not command.startswith("-")] == []


def test_every_make_target_that_is_shown_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = [(document.name, words[1]) for document, words in lines_of_bash() if words[0] == "make"]
    assert len(called) >= 2
    assert [(name, target) for name, target in called if target not in targets] == []


def test_every_module_and_script_that_is_shown_exists():
    missing = []
    for document, words in lines_of_bash():
        for word in words:
            if re.fullmatch(r"(benchmarks|examples|operator|crds|charts|jobs|tests)/[\w./-]+", word) and not (ROOT / word).exists():
                missing.append((document.name, word))
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document):
    lost = []
    for path, anchor in LINK.findall(document.read_text()):
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(path + anchor)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_test_that_is_named_exists(document):
    named_tests = re.findall(r"`(tests/[\w./-]+)`", document.read_text())
    assert [name for name in named_tests if not (ROOT / name).exists()] == []
