"""What pods of the tests look at from inside: programs for `python -c`, which print JSON."""

import json
from collections.abc import Mapping

SELF = """
import json, os, pathlib, tempfile
def writes(folder):
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
status = dict(line.split(":\\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
print(json.dumps({
    "uid": os.getuid(),
    "gid": os.getgid(),
    "groups": os.getgroups(),
    "seccomp": status["Seccomp"],
    "capabilities": int(status["CapEff"], 16),
    "more privileges": status["NoNewPrivs"] == "0",
    "writes": [folder for folder in ("/", "/etc", "/opt", "/work", "/tmp", "/dev/shm") if writes(folder)],
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount"),
}))
"""
"""Whom a pod runs as, and what it may."""


def connections(targets: Mapping[str, tuple[str, int]]) -> str:
    """A program that says of each target whether it takes a connection: ``{name: bool}``. Who is refused by a policy waits in vain."""
    return f"""
import concurrent.futures, json, socket
def reach(target):
    try:
        socket.create_connection(tuple(target), timeout=5).close()
    except OSError:
        return False
    return True
targets = json.loads({json.dumps(targets)!r})
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(dict(zip(targets, pool.map(reach, targets.values())))))
"""


def resolve(name: str) -> str:
    """A program that says the address of a name."""
    return f"import json, socket; print(json.dumps(socket.gethostbyname({name!r})))"
