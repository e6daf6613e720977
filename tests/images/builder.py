"""buildah, with a storage of its own that is gone when its folder is."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("buildah", "mmdebstrap")
ALONE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""A program's mounts and processes are its own, and end with us."""
_TRUST = ("/etc/ssl/certs", "/etc/pip.conf")
"""By what this machine reaches package registries, where it needs more than an address."""


class CannotBuild(RuntimeError):
    """This machine cannot build images; the message says what is missing."""


def obstacle() -> str | None:
    """Why images cannot be built here, with a remedy; None if they can."""
    if os.geteuid() != 0:
        return "images are built by root alone, since a base is made of another system's files: sudo make …"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return (
        f"{' and '.join(missing)} not installed: make image-packages installs them, as does make node-packages (Debian, Ubuntu)"
        if missing
        else None
    )


def without_tag(reference: str) -> str:
    """The name of an image, with its registry."""
    return re.sub(r"(@sha256:[0-9a-f]+|:[^:/]+)$", "", reference)


@dataclass(frozen=True)
class Builder:
    """Builds images and runs programs in them.

    Attributes:
        folder: Of the storage, which nobody else uses; whoever made it removes it.
    """

    folder: Path

    def build(self, dockerfile: Path, context: Path, name: str, arguments: Mapping[str, str] = {}, options: Sequence[str] = ()) -> None:
        """Build an image.

        Args:
            dockerfile: Taken as it is.
            context: Where COPY copies from.
            name: Of the image.
            arguments: Of the Dockerfile, in place of their defaults.
            options: More of ``buildah bud``.

        Raises:
            CannotBuild: This machine has no builder.
            subprocess.CalledProcessError: The build failed.
        """
        given = [f"--build-arg={argument}={value}" for argument, value in arguments.items()]
        trust = [f"--volume={path}:{path}:ro" for path in _TRUST if Path(path).exists()]
        self._buildah(
            "bud", "--isolation=chroot", "--network=host", *trust, *given, *options, f"--file={dockerfile}", f"--tag={name}", str(context)
        )

    def save(self, name: str, archive: Path) -> None:
        """Write an image as an OCI archive, which says its name."""
        self._buildah("push", "--quiet", name, f"oci-archive:{archive}:{name}")

    def publish(self, archives: Sequence[Path], name: str, tls: bool) -> str:
        """Push images of several platforms under one name.

        Args:
            archives: OCI archives, one of each platform.
            name: With registry and tag.
            tls: Whether the registry is spoken to by it.

        Returns:
            The digest of the list of them.
        """
        self._buildah("manifest", "create", name)
        for archive in archives:
            self._buildah("manifest", "add", name, f"oci-archive:{archive}")
        written = self.folder / "digest"
        self._buildah("manifest", "push", "--all", f"--tls-verify={str(tls).lower()}", f"--digestfile={written}", name, f"docker://{name}")
        return written.read_text().strip()

    def pinned(self, reference: str, platform: str, tls: bool = True) -> str:
        """An image of a registry by the digest that it has there on a platform. It is fetched.

        Raises:
            CannotBuild: The registry does not tell it.
            subprocess.CalledProcessError: There is no such image, or the registry cannot be reached.
        """
        self._buildah("pull", "--quiet", f"--platform={platform}", f"--tls-verify={str(tls).lower()}", f"docker://{reference}")
        digest = self._buildah("inspect", "--type=image", "--format={{.FromImageDigest}}", reference).strip()
        if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            raise CannotBuild(f"{reference} has no digest: {digest!r}")
        return f"{without_tag(reference)}@{digest}"

    def size(self, name: str) -> str:
        """Of an image's files, as people read it."""
        return self._buildah("images", "--format={{.Size}}", name).strip()

    def run(self, name: str, command: Sequence[str]) -> str:
        """What a program of an image says on standard output, run as the image's own user.

        Raises:
            subprocess.CalledProcessError: It failed.
        """
        container = self._buildah("from", name).strip()
        try:
            return self._buildah("run", "--isolation=chroot", container, "--", *command)
        finally:
            self._buildah("rm", container)

    def _buildah(self, *words: str) -> str:
        if reason := obstacle():
            raise CannotBuild(reason)
        storage = [f"--root={self.folder / 'root'}", f"--runroot={self.folder / 'run'}"]
        ended = subprocess.run(
            [*ALONE, "buildah", *storage, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
            check=True,
        )
        return ended.stdout
