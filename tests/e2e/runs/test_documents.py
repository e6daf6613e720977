"""docs/operations.md and docs/runbooks.md, command by command as they stand there, by one who follows them."""

import sys

import pytest
import yaml
from documents import ROOT, program_folder, replaced, run, shown
from e2e.conftest import NODE

from controlplane.faults.scenario import SPEC
from controlplane.kubelet.kubelet_logs import KubeletLogs
from controlplane.plane import build

NAMESPACE = "by-hand"
DOCUMENT = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "hh"}, "spec": dict(SPEC)}
WATCH = "kubectl get serruns --namespace lab --watch"


@pytest.fixture(scope="module")
def follow(control_plane, place, tmp_path_factory):
    """Runs the commands of a text in the repository's folder, as an administrator; stage doubles play the pods."""
    folder = tmp_path_factory.mktemp("documents")
    for name in ("crds", "operator"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "serrun.yaml").write_text(yaml.safe_dump(DOCUMENT))
    programs = {"kubectl": build.command("kubectl"), "ser-operator": [sys.executable, "-m", "ser_operator.main"]}
    path = program_folder(folder / "bin", programs)
    environment = {"KUBECONFIG": str(control_plane.kubeconfig()), "SER_OPERATOR_PROBE_PORT": "0"}
    with KubeletLogs(place.kubelet, place.plane.api(), NODE, folder):
        yield lambda text: run(replaced(text, {"lab": NAMESPACE}), folder, path, environment, timeout=120)


@pytest.fixture(scope="module")
def by_hand(follow, place):
    """What an installation by hand and a watched run say. A watch has no end of its own, so one looks at two lines of it."""
    for stage in ("prepare", "retrain", "label", "filter"):
        place.instead[NAMESPACE, stage] = lambda pod: pod.log.write_text(f"{pod.name} spoke\n") and None
    secrets = {f"AWS_{word}=…": f"AWS_{word}=x" for word in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    installed = follow(replaced(shown("docs/operations.md", "Install by hand").text, secrets))
    operator = shown("docs/operations.md", "Install by hand", "bash", 1).text.strip()
    watched = replaced(shown("docs/operations.md", "Watch a run").text, {WATCH: f"head -n 2 < <({WATCH})"})
    return installed, follow(f"{operator} > operator.log &\noperator=$!\n{watched}kill $operator\nwait $operator\n")


def test_a_run_is_completed_by_an_operator_installed_by_hand(by_hand):
    installed, watched = by_hand

    assert "secret/ser-s3 created" in installed
    assert "serrun.ser.dev/hh condition met" in watched
    assert "\n    Type:                  Completed\n" in watched
    assert watched.splitlines()[-1] == "serrun.ser.dev/hh patched"


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (shown("docs/runbooks.md", "SERRunStalled"), ""),
        (shown("docs/runbooks.md", "SERRunWaiting"), "best reward model: "),
        (shown("docs/runbooks.md", "SERRunFailed"), "Status:"),
        (shown("docs/runbooks.md", "SERRunNoProgress"), " spoke\n"),
        (shown("docs/runbooks.md", "SERRunAccuracyFell"), "serrun.ser.dev/hh patched"),
        (shown("docs/runbooks.md", "SERRunRetriesHigh"), "prepare 1 Done"),
    ],
    ids=lambda case: getattr(case, "heading", "says"),
)
def test_what_a_runbook_asks_is_answered(by_hand, follow, block, says):
    assert says in follow(block.text)
