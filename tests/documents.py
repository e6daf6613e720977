"""The fenced blocks of the documents. A test runs a block from the document's own text; `unit/documentation` sees that none is left out."""

import os
import re
import shlex
import signal
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "charts" / "ser-operator" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_HEADING_OR_FENCE = re.compile(
    r"^#+ (?P<heading>[^\n]*)$|^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: Path from the root of the repository.
        heading: The nearest one above it.
        language: What stands behind the fence.
        number: Counted from 0 among those of its language under its heading.
        text: What it holds.
    """

    document: str
    heading: str
    language: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.document}, {self.heading}, {self.language} {self.number}"


def blocks() -> Iterator[Block]:
    """All blocks of all documents."""
    for document in DOCUMENTS:
        heading, seen = "", Counter[tuple[str, str]]()
        for found in _HEADING_OR_FENCE.finditer(document.read_text(encoding="utf-8")):
            if found["heading"] is not None:
                heading = found["heading"]
                continue
            key = (heading, found["language"])
            yield Block(str(document.relative_to(ROOT)), *key, seen[key], textwrap.dedent(found["text"]))
            seen[key] += 1


def shown(document: str, heading: str, language: str = "bash", number: int = 0) -> Block:
    """The block that stands there. Call it with literals: that is how it is known which test runs a block."""
    (found,) = (one for one in blocks() if (one.document, one.heading, one.language, one.number) == (document, heading, language, number))
    return found


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """The text with whole words and phrases replaced; one that does not occur is an error."""
    for old, new in replacements.items():
        text, times = re.subn(rf"(?<![\w-]){re.escape(old)}(?![\w-])", lambda _, new=new: new, text)
        assert times, f"{old!r} is not in\n{text}"
    return text


def lines(text: str) -> list[list[str]]:
    """The words of each command."""
    split = (shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines())
    return [words for words in split if words]


def program_folder(folder: Path, programs: Mapping[str, Sequence[str]]) -> Path:
    """A folder for PATH in which each name starts the given words."""
    folder.mkdir()
    for name, words in programs.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def run(text: str, folder: Path, path: Path, environment: Mapping[str, str], timeout: float) -> str:
    """Run a block's commands one after the other in bash, as one who pastes them; the first that fails ends it.

    Args:
        text: Of the block, with what is to be replaced replaced.
        folder: Where one is.
        path: Where programs are found before those of the machine.
        environment: Further variables; nothing else is inherited.
        timeout: Seconds.

    Returns:
        What they said on standard output.
    """
    variables = {"HOME": str(folder), **environment, "PATH": f"{path}:{os.environ['PATH']}"}
    command = ["bash", "-eu", "-o", "pipefail", "-c", text]
    with subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as shell:
        try:
            out, err = shell.communicate(timeout=timeout)
        finally:
            _end(shell.pid)  # what it left in the background, too
    assert shell.returncode == 0, f"{text}\nended with {shell.returncode}:\n{out}{err}"
    return out


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
