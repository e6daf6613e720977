"""The files of a release."""

import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path

from images.context import VERSION
from release.bill import bill, wanted
from release.layers import digest, files
from release.shipped import Image

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


def write_bill(archive: Path) -> None:
    """Write down beside an archive what is in it."""
    name = archive.name.partition(f"-{VERSION}-")[0]
    content = bill(name, VERSION, digest(archive), files(archive, wanted))
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


def write_checksums(output: Path) -> None:
    """For ``sha256sum --check``."""
    lines = []
    for path in sorted(output.iterdir()):
        if path.is_file() and path.name not in {CHECKSUMS, DIGESTS}:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    (output / CHECKSUMS).write_text("".join(lines))
