"""Takes a finished release to a registry. What is pushed is what `make release` left, byte for byte."""

import re
import tempfile
from pathlib import Path

from images.builder import Builder, CannotBuild
from release.chart import helm
from release.files import BASES, CHECKSUMS, DIGESTS, archives, damaged, without_digest
from ser_core.version import VERSION

_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost)(:\d+)?(/|$)")


def publish(output: Path, registry: str) -> list[str]:
    """Push images and chart; write down under which digests.

    Args:
        output: Folder of the release.
        registry: Host and folder, as ``registry.example/ser``. One on loopback is spoken to without TLS.

    Returns:
        References by digest, which is what is to be signed and deployed.

    Raises:
        CannotBuild: An image's base is not known by a digest, or a file is not as it was made.
    """
    if changed := damaged(output):
        raise CannotBuild(f"{', '.join(changed)} in {output} is not what {CHECKSUMS} says: make release again")
    if (free := without_digest(output)) and not _LOOPBACK.match(registry):
        raise CannotBuild(f"{BASES} has no digest of the base of {', '.join(free)}: make release BASES=registry")
    pushed = [_push_images(output, registry, name) for name in archives(output)]
    pushed.append(_push_chart(output / f"ser-operator-{VERSION}.tgz", f"{registry}/charts"))
    (output / DIGESTS).write_text("".join(f"{one}\n" for one in pushed))
    return pushed


def _push_images(output: Path, registry: str, name: str) -> str:
    """All platforms of an image under one tag."""
    with tempfile.TemporaryDirectory(prefix=".storage-", dir=output) as folder:
        digest = Builder(Path(folder)).publish(archives(output)[name], f"{registry}/{name}:{VERSION}", tls=not _LOOPBACK.match(registry))
    return f"{registry}/{name}@{digest}"


def _push_chart(archive: Path, folder: str) -> str:
    """In a folder of its own, since the operator's image has the same name and version."""
    said = helm("push", str(archive), f"oci://{folder}", *(["--plain-http"] if _LOOPBACK.match(folder) else []))
    digest = re.search(r"sha256:[0-9a-f]{64}", said)
    assert digest, said
    return f"{folder}/ser-operator@{digest[0]}"
