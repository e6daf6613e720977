"""Builds the images and looks into them."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.plane.build import cache_folder
from images.builder import Builder, CannotBuild
from images.context import ROOT
from images.debian import python_base
from release.shipped import Image

DEBIAN = "trixie"
"""The release whose Python stands in for the Dockerfiles' own bases."""


@contextmanager
def builder(output: Path) -> Iterator[Builder]:
    """A builder whose storage is gone afterwards."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".storage-", dir=output) as folder:
        yield Builder(Path(folder))


@dataclass(frozen=True)
class Built:
    """An image that stands in its builder's storage.

    Attributes:
        base: What it was built on, as it is written down.
        told: What it took, in words.
    """

    base: str
    told: str


def build(builder: Builder, image: Image, platform: str, bases: str) -> Built:
    """Build an image.

    Args:
        builder: Whose storage it is left in.
        image: Which one.
        platform: As ``linux/amd64``.
        bases: ``registry``: the Dockerfile's own base, by the digest that it has there now; ``debian``: one of Debian's packages, where no
            registry is reached.

    Raises:
        CannotBuild: This machine lacks the means, or the base has no digest.
        subprocess.CalledProcessError: The build failed.
    """
    free = shutil.disk_usage(builder.folder).free / 1e9
    if free < image.gigabytes:
        raise CannotBuild(f"{image.name} takes {image.gigabytes} GB of disk while it is built, and {builder.folder} has {free:.0f} GB")
    started = time.monotonic()
    by_digest = bases == "registry"
    base = builder.pinned(default_base(image), platform) if by_digest else python_base(cache_folder() / "images", DEBIAN, platform)
    builder.build(image.dockerfile, ROOT, image.tagged, {image.base: base}, [f"--platform={platform}"])
    name = base if by_digest else f"Debian {DEBIAN}"
    return Built(name, f"{image.name} for {platform} on {name}: built in {time.monotonic() - started:.0f} s")


def default_base(image: Image) -> str:
    """The base that an image's Dockerfile names."""
    (found,) = re.findall(rf"^ARG {image.base}=(\S+)$", image.dockerfile.read_text(), re.MULTILINE)
    return str(found)


def look(builder: Builder, image: Image) -> str:
    """See that a built image is what pods need, by a program that runs in it as its own user.

    Returns:
        What was seen, in words.

    Raises:
        subprocess.CalledProcessError: The image is not what it should be; the program has said why.
    """
    program = (Path(__file__).parent / "inside.py").read_text()
    seen = builder.run(image.tagged, ["python", "-c", program, *image.modules, "--", *image.start])
    return f"{builder.size(image.tagged)}; {'; '.join(seen.splitlines())}"
