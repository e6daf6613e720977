"""The chart on an empty cluster: the images start, and what was installed says that it works."""

import json

from node.release import NAME, SYSTEM


def test_helm_install_waits_for_an_operator_that_is_ready(installed, cluster):
    """Expected: STATUS deployed, one pod, ready, never restarted."""
    assert "STATUS: deployed" in installed
    (pod,) = json.loads(cluster.plane.kubectl("get", "pods", "--namespace", SYSTEM, "-o", "json").stdout)["items"]
    (container,) = pod["status"]["containerStatuses"]
    assert (container["ready"], container["restartCount"]) == (True, 0)


def test_the_operator_runs_as_nobody_known_with_a_root_that_cannot_be_written(installed, cluster):
    """Expected: uid and gid 65532, which the image's passwd does not list; seccomp filters; no capability; read-only root."""
    look = "import os; print(os.getuid(), os.getgid(), open('/proc/self/status').read(), os.access('/', os.W_OK))"
    said = cluster.plane.kubectl("exec", "--namespace", SYSTEM, f"deploy/{NAME}", "--", "python", "-c", look).stdout
    assert said.startswith("65532 65532 ")
    assert "Seccomp:\t2\n" in said
    assert "CapEff:\t0000000000000000\n" in said
    assert said.endswith("False\n")
