"""What our images are built from."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def files() -> list[Path]:
    """What .dockerignore leaves of the repository, in order."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return sorted(file for line in lines if line.startswith("!") for file in _below(ROOT / line[1:]))


def inputs(dockerfile: Path) -> Iterator[bytes]:
    """Everything in the repository that decides what is in an image."""
    yield from (path.read_bytes() for path in (dockerfile, ROOT / ".dockerignore"))
    for path in files():
        yield str(path.relative_to(ROOT)).encode()
        yield path.read_bytes()


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
