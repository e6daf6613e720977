"""An image registry on loopback: Debian's, unpacked and not installed, since its package would start a service."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from ports import free_port

from images.kept import kept

_PACKAGE = "docker-registry"


@contextmanager
def registry(folder: Path, cache: Path) -> Iterator[str]:
    """Host and port of a registry that is empty, speaks no TLS and asks for no password.

    Args:
        folder: Where it stores.
        cache: Where its program is kept.
    """
    port = free_port()
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "registry.yaml").write_text(yaml.safe_dump(settings))
    with subprocess.Popen(
        [_program(folder, cache), "serve", str(folder / "registry.yaml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/v2/", process)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def _program(folder: Path, cache: Path) -> Path:
    def fetch(work: Path, archive: Path) -> None:
        subprocess.run(
            ["apt-get", "-o", "APT::Sandbox::User=root", "download", "--quiet", _PACKAGE], cwd=work, stdout=sys.stderr, check=True
        )
        (found,) = work.glob("*.deb")
        with archive.open("wb") as tar:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", found], stdout=tar, check=True)

    subprocess.run(["tar", "-xf", kept(cache, _PACKAGE, [], fetch), "-C", folder, "./usr/bin"], check=True)
    return folder / "usr" / "bin" / _PACKAGE


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError(f"the registry does not answer at {url}")
