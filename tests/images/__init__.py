"""Images for tests: built by buildah, which needs no engine in the background, on bases from Debian's archive, which need no registry."""

from images.archives import OPERATOR, STAGES, operator_image, thin_stage_image
from images.builder import CannotBuild, obstacle

__all__ = ["OPERATOR", "STAGES", "CannotBuild", "obstacle", "operator_image", "thin_stage_image"]
