"""Images for tests: built by buildah, which needs no engine in the background, on bases from Debian's archive, which need no registry."""

from images.archives import OPERATOR, REGISTRY, STAGES, operator_image, thin_stage_image
from images.builder import CannotBuild, obstacle

__all__ = ["OPERATOR", "REGISTRY", "STAGES", "CannotBuild", "obstacle", "operator_image", "thin_stage_image"]
