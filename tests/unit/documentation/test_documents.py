"""What the documents show is valid, and their links lead somewhere. What runs their commands: `test_blocks_are_run.py`."""

import re

import pytest
import yaml
from documents import DOCUMENTS, ROOT, blocks

from ser_core.api.serrun import KIND, SERRun
from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import CONTROL_OF_STAGE

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#]*)(#[^)]*)?\)")


def anchors(document):
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("block", [one for one in blocks() if one.language == "yaml"], ids=str)
def test_every_serrun_that_is_shown_is_valid(block):
    for shown in yaml.safe_load_all(block.text):
        if shown.get("kind") == KIND:
            SERRun.model_validate(shown)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document):
    lost = []
    for path, anchor in LINK.findall(document.read_text()):
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(path + anchor)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_module_that_is_named_exists(document):
    named = re.findall(r"`((?:ser_core|jobs|operator)/[\w./]+)`", document.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_files_of_the_operator_are_those_that_are_listed():
    rows = re.findall(r"^\| `([\w/]+)` \| .* \| (`\w+\.py`.*) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    listed = {folder: sorted(re.findall(r"`(\w+\.py)`", files)) for folder, files in rows}
    package = ROOT / "operator" / "ser_operator"
    assert listed == {
        str(folder.parent.relative_to(package)): sorted(file.name for file in folder.parent.glob("[!_]*.py"))
        for folder in package.glob("*/**/__init__.py")
    }


def test_every_stage_is_named_among_the_labels_and_in_the_chain():
    (labels,) = re.findall(r"`ser\.dev/stage` \| (.*) \|", (ROOT / "docs" / "operations.md").read_text())
    (chain,) = re.findall(r"^(`prepare` → .*) → controls", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    stages = {kind.value for kind in StageKind}
    assert set(re.findall(r"`([\w-]+)`", labels)) == stages
    assert set(re.findall(r"`([\w-]+)`", chain)) == stages - {kind.value for kind in CONTROL_OF_STAGE}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_test_that_is_named_exists(document):
    named_tests = re.findall(r"`(tests/[\w./-]+)`", document.read_text())
    assert [name for name in named_tests if not (ROOT / name).exists()] == []
    shortened = re.findall(r"`((?:\w+/)*test_\w+\.py)`", document.read_text())
    assert [name for name in shortened if not any(ROOT.glob(f"tests/**/{name.removeprefix('tests/')}"))] == []
