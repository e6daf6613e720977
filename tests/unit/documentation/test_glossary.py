"""The glossary is in order, and the words that it rules out stay out of the texts that people read."""

import re

import pytest
from documents import DOCUMENTS, ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")][1:]
RULED_OUT = (
    *("yardstick", "right self-labels", "held-out score", "held-back pairs", "the policy before", "nats from the start", "wall time"),
    *("first process", "main process", "value model", "preference model", "second judge", "ensemble member", "actor", "degenerate"),
    *("validation set", "test set", "unlabelled set", "base run", "cache key", "cache hit", "fingerprint", "prompt format"),
    *("token budget", "error code", "launcher", "certainty", "infrastructure"),
)
"""Those words of the last column that mean nothing else."""
TEXTS = [
    *(document for document in DOCUMENTS if document != GLOSSARY),
    *(
        path
        for folder in ("ser_core", "jobs", "operator", "crds", "charts", "examples")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".j2", ".yaml")
    ),
]


def test_every_word_has_a_meaning_and_a_source_in_alphabetical_order():
    words = [row[0] for row in ROWS]
    assert words == sorted(set(words), key=str.lower)
    assert [row for row in ROWS if len(row) != 4 or not all(row[:3])] == []


def test_the_words_ruled_out_stand_in_the_last_column():
    unused = ", ".join(row[3] for row in ROWS).split(", ")
    assert set(RULED_OUT) <= set(unused)


@pytest.mark.parametrize("word", RULED_OUT)
def test_a_word_that_is_ruled_out_is_not_used(word):
    found = re.compile(r"\b" + word.replace(" ", r"\s+") + "(?! PPO| the first)", re.IGNORECASE)
    assert [str(path.relative_to(ROOT)) for path in TEXTS if found.search(path.read_text())] == []
