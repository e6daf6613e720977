"""The images that the node is given: as shipped, but for what is said at each."""

import os
from pathlib import Path

from controlplane.plane.build import cache_folder
from images import OPERATOR, REGISTRY, STAGES, operator_image, thin_stage_image

__all__ = ["OPERATOR", "REGISTRY", "STAGES", "VARIABLE", "archives", "given"]

VARIABLE = "SER_NODE_IMAGES"
"""Paths of the archives: in the sandbox nothing can be built."""


def archives() -> list[Path]:
    """The operator's image from its own Dockerfile, on a base from Debian; and our code on the same kind of base as the stages' image,
    whose packages (6 GB) are those of the test environment, mounted into every container (`node.containerd`)."""
    folder = cache_folder() / "images"
    return [operator_image(folder), thin_stage_image(folder)]


def given() -> list[Path]:
    """The archives, in the sandbox."""
    return [Path(path) for path in os.environ[VARIABLE].split(os.pathsep)]
