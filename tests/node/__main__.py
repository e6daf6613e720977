"""Runs tests on a node: ``python -m node FOLDER…`` with pytest's words."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from lanes import required

from node import images, parts


def main(words: list[str]) -> NoReturn:
    """The tests take this process's place, in the sandbox; unless they cannot run."""
    if reason := parts.obstacle():
        wanted = required()
        print(f"{'FAILED' if wanted else 'SKIPPED'} the tests on a node: {reason}", flush=True)
        sys.exit(int(wanted))
    archives = os.pathsep.join(map(str, images.archives()))
    command = ["bash", str(Path(__file__).with_name("sandbox.sh")), sys.executable, "-u", "-m", "pytest", *words]
    os.execvpe("bash", command, {**os.environ, images.VARIABLE: archives})


if __name__ == "__main__":
    main(sys.argv[1:])
