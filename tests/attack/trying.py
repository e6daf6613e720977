"""Tries the attacks of one test file in a process of its own: one that kills or stops it is counted, and the other files go on."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from attack.counting import RESULTS, STARTED

LIMIT = 3600.0
"""Seconds without the end of a test after which the process is ended. The longest takes minutes."""
_POLL = 0.2
_TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class End:
    """How one attack ended."""

    test: str
    end: str
    """One of `attack.counting.ENDS`."""
    why: str = ""


def by_file(tests: list[str]) -> dict[str, list[str]]:
    """The tests of each file, as pytest is given them; a file that is named as a whole has all of them."""
    files: dict[str, list[str]] = {}
    for test in tests:
        files.setdefault(test.partition("::")[0], []).append(test)
    return {file: [file] if file in named else named for file, named in sorted(files.items())}


def tried(tests: list[str], folder: Path, limit: float = LIMIT) -> list[End]:
    """Run the tests of one file.

    Args:
        tests: As pytest is given them.
        folder: Where what pytest prints is kept, in a file of the test file's name.
        limit: Seconds that may pass without the end of a test.
    """
    name = re.sub(r"\W+", "-", tests[0].partition("::")[0].removesuffix(".py"))
    results, log = folder.resolve() / f"{name}.jsonl", folder / f"{name}.log"  # a test may change into another folder
    results.write_text("")
    words = [sys.executable, "-m", "pytest", "--timeout=0", "--tb=short", "-p", "attack.counting", *tests]
    search = os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH")]))
    with log.open("wb") as file:
        process = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": search, RESULTS: str(results)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = _ended(process, results, limit)
        finally:
            _end(process)
    return ends(results.read_text(encoding="utf-8"), code, tests[0])


def ends(text: str, code: int | None, first: str) -> list[End]:
    """How the tests of a process ended.

    Args:
        text: The lines that it has written.
        code: Its own end; None: it was ended, since nothing came any more.
        first: What is blamed where no test had begun.
    """
    lines = [json.loads(line) for line in text.splitlines()]
    begun = [line["test"] for line in lines if line["end"] == STARTED]
    found = [End(**line) for line in lines if line["end"] != STARTED]
    if code is None:
        return [*found, End(begun[-1] if begun else first, "broke", "it had no end; the rest of the file was not tried")]
    if code < 0 or code > 1:
        return [*found, End(begun[-1] if begun else first, "broke", f"pytest ended with {code}; the rest of the file was not tried")]
    return found


def _ended(process: "subprocess.Popen[bytes]", results: Path, limit: float) -> int | None:
    """Its exit code; None where it says nothing for longer than ``limit``."""
    while (code := process.poll()) is None:
        if time.time() - results.stat().st_mtime > limit:
            return None
        time.sleep(_POLL)
    return code


def _end(process: "subprocess.Popen[bytes]") -> None:
    """It and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
