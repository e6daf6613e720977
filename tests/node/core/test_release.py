"""The chart on an empty cluster, by README's words: the images start, and what was installed says that it works."""

from node import release
from node.release import LAB, NAME, OPERATOR


def test_the_commands_that_helm_install_prints_see_an_operator_that_is_ready(installed, cluster, follow):
    """Expected: STATUS deployed, one pod, ready, never restarted; the pod of `helm test` reaches the API server and is content."""
    assert "STATUS: deployed" in installed
    said = follow(release.printed(installed))
    (pod,) = cluster.plane.api().items(f"/api/v1/namespaces/{LAB}/pods", labelSelector=OPERATOR)
    (container,) = pod["status"]["containerStatuses"]

    assert "successfully rolled out" in said
    assert "SERRuns are served, and the operator is ready" in said
    assert (container["ready"], container["restartCount"]) == (True, 0)


def test_the_operator_runs_as_nobody_known_with_a_root_that_cannot_be_written(installed, cluster):
    """Expected: uid and gid 65532, which the image's passwd does not list; seccomp filters; no capability; read-only root."""
    look = "import os; print(os.getuid(), os.getgid(), open('/proc/self/status').read(), os.access('/', os.W_OK))"
    said = cluster.plane.kubectl("exec", "--namespace", LAB, f"deploy/{NAME}", "--", "python", "-c", look).stdout
    assert said.startswith("65532 65532 ")
    assert "Seccomp:\t2\n" in said
    assert "CapEff:\t0000000000000000\n" in said
    assert said.endswith("False\n")
