"""The files of a release."""

import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path

from images.builder import CannotBuild
from release.bill import bill, wanted
from release.contents import defects
from release.layers import digest, files
from release.shipped import Image
from ser_core.version import VERSION

CHECKSUMS, DIGESTS, BASES = "SHA256SUMS", "DIGESTS", "BASES"


def archive_name(image: Image, platform: str) -> str:
    """Of an image's OCI archive."""
    return f"{image.name}-{VERSION}-{platform.replace('/', '-')}.oci.tar"


def archives(output: Path) -> dict[str, list[Path]]:
    """Images of a release by their name."""
    found = defaultdict(list)
    for path in sorted(output.glob(f"*-{VERSION}-*.oci.tar")):
        found[path.name.partition(f"-{VERSION}-")[0]].append(path)
    return dict(found)


def write_bill(archive: Path, image: Image) -> None:
    """Write down beside an archive what is in it.

    Raises:
        CannotBuild: It has a package that is not in its lock, or whose licence is not known.
    """
    found = files(archive, wanted)
    content = bill(image.name, VERSION, digest(archive), found)
    if wrong := list(defects(found, image.lock.read_text())):
        raise CannotBuild(f"{archive.name} is not to be released: {'; '.join(wrong)}")
    archive.with_name(archive.name.replace(".oci.tar", ".cdx.json")).write_text(json.dumps(content, indent=1))


def write_base(archive: Path, base: str) -> None:
    """Write down what an image was built on."""
    with (archive.parent / BASES).open("a") as file:
        file.write(f"{archive.name}  {base}\n")


def without_digest(output: Path) -> list[str]:
    """Images of a release whose base stands under no digest there, so that nobody could build them again."""
    written = output / BASES
    pinned = re.findall(r"^(\S+)  \S+@sha256:[0-9a-f]{64}$", written.read_text() if written.exists() else "", re.MULTILINE)
    return [path.name for paths in archives(output).values() for path in paths if path.name not in pinned]


def damaged(output: Path) -> list[str]:
    """Files of a release that are not as they were made, missing, or not named by its checksums."""
    written = output / CHECKSUMS
    known = set(written.read_text().splitlines()) if written.exists() else set()
    return sorted({line.split()[-1] for line in known ^ set(_checksums(output))})


def write_checksums(output: Path) -> None:
    """For ``sha256sum --check``."""
    (output / CHECKSUMS).write_text("".join(f"{line}\n" for line in _checksums(output)))


def _checksums(output: Path) -> list[str]:
    found = []
    for path in sorted(output.iterdir()):
        if path.is_file() and path.name not in {CHECKSUMS, DIGESTS}:
            with path.open("rb") as file:
                found.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}")
    return found
