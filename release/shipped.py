"""The images that a release has."""

from dataclasses import dataclass
from pathlib import Path

from images.context import ROOT
from ser_core.version import VERSION


@dataclass(frozen=True)
class Image:
    """An image of a release.

    Attributes:
        name: Without registry and tag.
        dockerfile: What it is built from, as it is.
        base: The Dockerfile's argument that names the base image.
        modules: Must be importable in it.
        lock: What of Python is installed in it.
        start: The words that it starts with.
        gigabytes: Of disk that its build takes for a while.
    """

    name: str
    dockerfile: Path
    base: str
    modules: tuple[str, ...]
    lock: Path
    start: tuple[str, ...]
    gigabytes: int

    @property
    def tagged(self) -> str:
        """Its name while it is in no registry."""
        return f"localhost/{self.name}:{VERSION}"


OPERATOR = Image(
    "ser-operator",
    ROOT / "operator" / "Dockerfile",
    "PYTHON_IMAGE",
    ("ser_operator.main", "kopf"),
    ROOT / "locks" / "operator.txt",
    ("ser-operator",),
    3,
)
STAGES = Image(
    "ser-jobs",
    ROOT / "jobs" / "Dockerfile",
    "CUDA_IMAGE",
    ("torch", "deepspeed", "transformers", "peft", "ser_jobs.runtime"),
    ROOT / "locks" / "stages.txt",
    ("python", "-m", "ser_jobs.runtime"),
    30,
)
