"""A public index knows no distribution of ours: whoever registered the name there would get what users install."""

import re

import pytest
from documents import ROOT

PLACES = ("README.md", "Makefile", "docs", "ser_core", "jobs", "operator", "charts", "crds", "examples", "benchmarks", "release", ".github")
NAME = r"ser[-_.]operator"
ADVICE = re.compile(
    rf"(?:pip3?|pipx|uv|uvx|poetry|conda)\b[^\n;&|]*?(?:install|run|add|uvx|download)\b[^\n;&|]*?(?<![\w/.-]){NAME}(?![\w/.-])|{NAME}\[",
    re.IGNORECASE,
)


def files():
    for place in PLACES:
        for path in [ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*")):
            ours = not any(part.startswith(".") for part in path.relative_to(ROOT / place).parts)  # benchmarks/.vllm is an environment
            if ours and path.is_file() and path.suffix not in {".png", ".pyc"}:
                yield path


def test_no_text_advises_to_install_our_name_from_a_public_index():
    assert [f"{path.relative_to(ROOT)}: {found[0]}" for path in files() for found in ADVICE.finditer(path.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        "pip install ser-operator",
        "pip install 'ser-operator[jobs]'",
        "python -m pip install --quiet ser_operator==0.1.0",
        "uv pip install ser-operator",
        "pipx run ser-operator",
        "an image with `ser-operator[jobs,vllm]`",
    ],
)
def test_such_advice_would_be_found(text):
    assert ADVICE.search(text)


@pytest.mark.parametrize(
    "text", ["pip install '.[jobs]'", "helm install ser-operator charts/ser-operator", "pip install operator/ser_operator"]
)
def test_what_works_is_not_taken_for_it(text):
    assert not ADVICE.search(text)
