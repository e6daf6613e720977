"""The machine of the node lane is its own: what it does is not seen outside, and a killed one leaves nothing."""

import subprocess
import time
from pathlib import Path

import pytest
from lanes import cannot_run

from node import requirements

SANDBOX = Path(__file__).parents[1] / "node" / "sandbox.sh"
MARK = "/etc/ser-node-was-here"
CHANGES = f"touch {MARK} /run/ser-node; ip link add name left0 type veth peer name left1; iptables -A INPUT -j DROP; hostname other"


@pytest.fixture(scope="module", autouse=True)
def possible():
    """The machine of `.ci/run` has what these tests need."""
    if reason := requirements.obstacle():
        cannot_run(f"make node: {reason}")


def sandbox(*command):
    return ["bash", str(SANDBOX), *command]


def outside():
    """What a sandbox could change."""
    words = (["ip", "-brief", "link"], ["nft", "list", "ruleset"], ["hostname"], ["sysctl", "vm.overcommit_memory", "net.ipv4.ip_forward"])
    said = [subprocess.run(one, capture_output=True, text=True).stdout for one in words]
    return [*said, Path(MARK).exists(), Path("/run/ser-node").exists()]


def test_what_happens_inside_is_not_seen_outside():
    before = outside()

    ended = subprocess.run(sandbox("bash", "-euc", f"{CHANGES}; exit 3"), capture_output=True, text=True)

    assert ended.returncode == 3, ended.stderr
    assert outside() == before
    assert groups() == []


def test_killing_its_first_process_ends_all_of_it():
    """Also what has left its parent, as a container's shim does."""
    command = ["bash", "-c", "setsid --fork sleep 987654; echo ready; sleep 987653"]
    with subprocess.Popen(sandbox(*command), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "ready\n"
        running.kill()
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", "sleep 98765[34]"], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    subprocess.run(sandbox("true"), check=True)  # the next one takes its control groups away

    assert [group for group in groups() if str(running.pid) in group] == []


def groups():
    """Control groups of sandboxes that have ended."""
    found = [path for path in Path("/sys/fs/cgroup").glob("**/ser-node-*") if not Path(f"/proc/{path.name.rpartition('-')[2]}").exists()]
    return [str(path) for path in found]
