"""Whether this machine can run a node."""

import os
import shutil
import subprocess
from pathlib import Path

PROGRAMS = ("containerd", "ctr", "runc", "catatonit", "dnsmasq", "iptables", "nft", "conntrack", "unshare", "setpriv", "ip")
PLUGIN = Path("/usr/lib/cni/ptp")
_NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"]


def obstacle() -> str | None:
    """Why no node can run here, with a remedy; None if it can."""
    if os.geteuid() != 0:
        return "a node is run by root alone: sudo make node"
    missing = [program for program in PROGRAMS if shutil.which(program) is None] + [str(PLUGIN)] * (not PLUGIN.exists())
    if missing:
        return f"{', '.join(missing)} not installed: make node-packages installs them (Debian, Ubuntu)"
    ended = subprocess.run(_NAMESPACES, capture_output=True, text=True)
    if ended.returncode:
        return f"this machine makes no namespaces ({ended.stderr.strip()}): run make node where it does, for example outside a container"
    return None
