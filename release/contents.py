"""What may be in an image that is released: the Python packages of its lock, under licences that allow it to be passed on. Pure."""

import re
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser

OWN = "ser-operator"
_FOLDER = "opt/ser/"
"""What we install in an image. The rest is its base's."""
_PIN = re.compile(r"^([a-z0-9.-]+)==([\w.]+)", re.MULTILINE)
_KNOWN = re.compile(r"(?i)apache|\bmit\b|bsd|isc|mpl|psf|python software foundation|mozilla public")
_NVIDIA = re.compile(r"(?i)nvidia[- ]proprietary")
_OF_CUDA = {"cuda-toolkit"}
"""Packages that hold nothing and say nothing."""


def pins(lock: str) -> dict[str, str]:
    """Versions of the packages of a lock."""
    return dict(_PIN.findall(lock))


def canonical(name: str) -> str:
    """A package's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def defects(files: Mapping[str, bytes], lock: str) -> Iterator[str]:
    """What keeps an image from being released, in words.

    Args:
        files: Those that `bill.wanted` wants, by path.
        lock: The text of its lock.
    """
    wanted = pins(lock)
    for path, content in sorted(files.items()):
        if not path.startswith(_FOLDER) or not path.endswith("METADATA"):
            continue
        said = HeaderParser().parsestr(content.decode())
        name, version = canonical(said["Name"]), said["Version"]
        if name == OWN:
            continue
        if wanted.get(name) != version:
            yield f"{name} {version} is not in its lock ({wanted.get(name, 'no version')})"
        if not is_free(name, said):
            yield f"{name} {version} has no licence that is known ({licence(said) or 'none'})"


def licence(said: Message) -> str:
    """All that a package says of its licence."""
    classifiers = [one for one in said.get_all("Classifier") or () if one.startswith("License")]
    return " ".join(filter(None, (said.get("License-Expression"), (said.get("License") or "")[:100], *classifiers)))


def is_free(name: str, said: Message) -> bool:
    """Whether a package may be passed on: permissive licences, the MPL, and NVIDIA's own for the CUDA libraries."""
    text = licence(said)
    return name in _OF_CUDA or bool(_KNOWN.search(text)) or (name.startswith("nvidia-") and bool(_NVIDIA.search(text)))
