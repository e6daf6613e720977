"""containerd with runc and the CNI plugins of the machine, its images imported from archives."""

import json
import subprocess
import sysconfig
import time
from pathlib import Path

from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog
from node.archive import program_image

PAUSE = "ser.test/pause:1"
DEPENDENCIES = "/opt/deps/site-packages"
"""Where containers find the packages of the test environment, for the stage image that has none of its own."""
READY_SECONDS = 120
_PLUGINS = "/usr/lib/cni"


class Containerd:
    """One runtime.

    Args:
        name: Tells its files and its pods' network apart from those of another.
        subnet: Of its pods' addresses.
        folder: For its configuration and its log.
    """

    def __init__(self, name: str, subnet: str, folder: Path, watchdog: Watchdog) -> None:
        self._name, self._subnet, self._folder = name, subnet, folder
        self.socket = f"/run/containerd-{name}/containerd.sock"
        self._networks = folder / f"cni-{name}"
        self.part = Part(f"containerd-{name}", ["containerd", "--config", str(folder / f"containerd-{name}.json.toml")], folder, watchdog)

    def start(self) -> None:
        """Start it, also again after it was killed, and wait until it answers."""
        self._write()
        self.part.start()
        deadline = time.monotonic() + READY_SECONDS
        while self._ctr("version").returncode:
            self.part.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"containerd does not answer after {READY_SECONDS} s; its log is {self.part.log}")
            time.sleep(0.05)

    def add(self, archive: Path) -> None:
        """Import the images of an OCI archive."""
        ended = self._ctr("--namespace", "k8s.io", "images", "import", str(archive))
        assert ended.returncode == 0, ended.stderr

    def add_pause(self) -> None:
        """Import what holds a pod's namespaces open."""
        self.add(program_image(PAUSE, Path("/usr/bin/catatonit"), ["-P"], self._folder / "pause.tar"))

    def _ctr(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["ctr", "--address", self.socket, *words], capture_output=True, text=True, timeout=300)

    def _write(self) -> None:
        self._networks.mkdir(exist_ok=True)
        # Each pod has a link of its own to the node, so that all its packets pass the node's rules.
        addresses = {"type": "host-local", "ranges": [[{"subnet": self._subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
        network = {"cniVersion": "1.0.0", "name": self._name, "plugins": [{"type": "ptp", "ipam": addresses}]}
        (self._networks / "10-pods.conflist").write_text(json.dumps(network))
        spec = self._folder / f"base-spec-{self._name}.json"
        spec.write_text(json.dumps(_base_spec()))
        root = f"/var/lib/containerd/{self._name}"
        (self._folder / f"containerd-{self._name}.json.toml").write_text(f"""
version = 2
root = "{root}"
state = "/run/containerd-{self._name}"
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true # a container of tests may lack CAP_SYS_RESOURCE
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_PLUGINS}"
    conf_dir = "{self._networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{spec}"
""")


def _base_spec() -> dict[str, object]:
    """What every container gets: containerd's own default, and the packages of the test environment, read-only."""
    said = subprocess.run(["ctr", "oci", "spec"], capture_output=True, text=True, check=True)
    spec: dict[str, object] = json.loads(said.stdout)
    mounts = spec["mounts"]
    assert isinstance(mounts, list)
    packages = {
        "destination": DEPENDENCIES,
        "type": "bind",
        "source": sysconfig.get_path("purelib"),
        "options": ["rbind", "ro", "nosuid", "nodev"],
    }
    mounts.append(packages)
    return spec
