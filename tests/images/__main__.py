"""Builds the images of the node's tests ahead of them: ``python -m images``."""

from controlplane.plane.build import cache_folder
from images.archives import operator_image, thin_stage_image

for each in (operator_image, thin_stage_image):
    print(each(cache_folder() / "images"))
