"""What the tests on a node need is built ahead of them, where the network is: ``python -m node.parts``."""

import sys

import boards.build
from controlplane.plane import build
from images import CannotBuild
from node import images, requirements


def obstacle() -> str | None:
    """Why the tests cannot run here, with a remedy; None if they can, and then everything is built."""
    if reason := requirements.obstacle():
        return reason
    try:
        images.archives()
    except CannotBuild as error:
        return str(error)
    for name in (*build.BINARIES, *build.OF_A_NODE):
        build.binary(name)
    if boards.build.missing() is None:
        boards.build.page()
    return None


if __name__ == "__main__":
    if reason := obstacle():
        print(f"node: nothing is built: {reason}", file=sys.stderr)
