"""The files of a release."""

import hashlib
import json
from collections import defaultdict
from pathlib import Path

from images.context import VERSION
from release.bill import bill, wanted
from release.layers import digest, files
from release.shipped import Image

CHECKSUMS, DIGESTS = "SHA256SUMS", "DIGESTS"


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


def write_checksums(output: Path) -> None:
    """For ``sha256sum --check``."""
    lines = []
    for path in sorted(output.iterdir()):
        if path.is_file() and path.name not in {CHECKSUMS, DIGESTS}:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    (output / CHECKSUMS).write_text("".join(lines))
