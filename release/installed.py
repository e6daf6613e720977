"""What the locks install, as it is installed here: its licences are judged at every change, and not only once there is an image."""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from images.builder import CannotBuild
from release.bill import bill
from release.contents import defects, pins
from release.shipped import Image
from ser_core.version import VERSION


def write_installed(output: Path, image: Image) -> Path:
    """Write the bill of materials of an image's Python packages.

    Raises:
        CannotBuild: A package of its lock is not here, is of another version, or its licence is not known.
    """
    lock = image.lock.read_text()
    found = {name: content for name in pins(lock) if (content := _metadata(name))}
    wrong = [f"{name} is not installed here" for name in pins(lock) if name not in found]
    files = {f"opt/ser/{name}.dist-info/METADATA": content for name, content in found.items()}
    if wrong := [*wrong, *defects(files, lock)]:
        raise CannotBuild(f"{image.lock.name}: {'; '.join(wrong)}")
    digest = hashlib.sha256(lock.encode()).hexdigest()
    path = output / f"{image.name}-{VERSION}.cdx.json"
    path.write_text(json.dumps(bill(image.name, VERSION, f"sha256:{digest}", files), indent=1))
    return path


def _metadata(name: str) -> bytes:
    """Empty where the package is not installed."""
    try:
        return (distribution(name).read_text("METADATA") or "").encode()
    except PackageNotFoundError:
        return b""
