"""Several releases of the chart, and a CRD that is there before them; who looks after a release sees whether it works.

On a control plane of its own, whose operators run as processes.
"""

import shutil
from dataclasses import dataclass, field

import pytest
from chart.installing import chart_user
from chart.rendering import CHART, DIGEST
from documents import replaced, shown

from controlplane.cluster import ControlPlane, ProcessKubelet
from controlplane.kubelet.kubelet_logs import KubeletLogs

pytestmark = pytest.mark.timeout(900)
NODE = "node"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/serruns.ser.dev"
OF_THE_TEST = (
    "api/v1/namespaces/lab/pods",
    "api/v1/namespaces/lab/serviceaccounts",
    "apis/rbac.authorization.k8s.io/v1/namespaces/lab/roles",
    "apis/rbac.authorization.k8s.io/v1/namespaces/lab/rolebindings",
)
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@dataclass
class Story:
    """What happened, for the tests to look at.

    Attributes:
        readme: What the commands of the chart's README said.
        by_hand: `helm test` of a release whose CRD was applied by hand.
        refused: What Helm said to one that wants the CRD for itself.
        beside: `helm test` of the second release.
        by_the_platform: The Deployment with users of the platform, upgraded once more after that.
        owners: Name of the release that had the CRD, before it was taken over and after.
        rolled_back: The CRD's spec before the operator was taken back to an older chart, and after.
        alone: `helm test` of the second release when the first is gone.
        broken: What the pod of `helm test` said when the operator was gone.
    """

    readme: str = ""
    by_hand: str = ""
    refused: str = ""
    beside: str = ""
    by_the_platform: dict = field(default_factory=dict)
    owners: list = field(default_factory=list)
    rolled_back: list = field(default_factory=list)
    alone: str = ""
    broken: str = ""


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with ControlPlane(tmp_path_factory.mktemp("plane")) as running:
        running.add_node(NODE)
        yield running


@pytest.fixture(scope="module")
def documented():
    """Blocks of the documents with what they leave to the reader filled in; every namespace takes restricted pods alone."""
    images = {"REGISTRY": "registry.example", "stages.image.repository": f"stages.image.digest={DIGEST} --set stages.image.repository"}
    label = lambda name: {f"create namespace {name}": f"create namespace {name}\nkubectl label namespace {name} {RESTRICTED}"}  # noqa: E731
    return {
        "readme": replaced(shown("charts/ser-operator/README.md", "ser-operator").text, images),
        "by hand": replaced(shown("docs/install.md", "A second release, or a CRD that is there already").text, {**images, **label("lab")}),
        "beside": replaced(
            shown("docs/install.md", "A second release, or a CRD that is there already", "bash", 1).text, {**images, **label("team-b")}
        ),
        "take over": shown("docs/install.md", "A second release, or a CRD that is there already", "bash", 2).text,
        "rollback": shown("docs/operations.md", "Upgrade and rollback").text,
        "platform": shown("docs/install.md", "OpenShift", "yaml").text,
    }


def older_chart(folder):
    """A copy of the chart whose CRD has not yet a field."""
    chart = shutil.copytree(CHART, folder / "chart")
    crd = chart / "files" / "serruns.ser.dev.yaml"
    crd.write_text(crd.read_text().replace("ttlAfterFinished", "earlierName"))
    return str(chart)


@pytest.fixture(scope="module")
def story(plane, tmp_path_factory, documented):
    told = Story()
    follow = chart_user(plane, tmp_path_factory.mktemp("documents"))
    owner = lambda: plane.api().get(CRD)["metadata"].get("annotations", {}).get("meta.helm.sh/release-name")  # noqa: E731
    pods, logs = tmp_path_factory.mktemp("pods"), tmp_path_factory.mktemp("logs")
    with ProcessKubelet(plane, pods, NODE) as kubelet, KubeletLogs(kubelet, plane.api(), NODE, logs):
        told.readme = follow(documented["readme"])
        follow("helm uninstall ser-operator --namespace ser-system --wait\nkubectl delete crd serruns.ser.dev serruntemplates.ser.dev")

        follow(documented["by hand"])
        told.by_hand = follow("helm test ser-operator --namespace lab")
        with pytest.raises(AssertionError) as refusal:
            follow("helm install other charts/ser-operator --namespace default")
        told.refused = str(refusal.value)

        follow(documented["beside"])
        told.beside = follow("helm test ser-team-b --namespace team-b")

        upgrade = "helm upgrade ser-operator charts/ser-operator --namespace lab --reset-then-reuse-values --wait"
        follow(f"{upgrade} --values - <<'YAML'\n{documented['platform']}YAML\n{upgrade} --set settings.workers=4")
        told.by_the_platform = plane.api().get("/apis/apps/v1/namespaces/lab/deployments/ser-operator")

        told.owners.append(owner())
        follow(documented["take over"])
        told.owners.append(owner())

        told.rolled_back.append(plane.api().get(CRD)["spec"])
        follow(replaced(documented["rollback"], {"OLDCHART": older_chart(tmp_path_factory.mktemp("older"))}))
        told.rolled_back.append(plane.api().get(CRD)["spec"])

        follow("helm uninstall ser-operator --namespace lab --wait")
        told.alone = follow("helm test ser-team-b --namespace team-b")
        follow("kubectl scale --namespace team-b deployment/ser-team-b-ser-operator --replicas=0")
        follow("kubectl wait --namespace team-b --for=delete pod -l app.kubernetes.io/name=ser-operator --timeout=60s")
        with pytest.raises(AssertionError, match="helm test"):
            follow("helm test ser-team-b --namespace team-b")
        told.broken = kubelet.logs("team-b", "ser-team-b-ser-operator-test")
        yield told


def test_the_readmes_commands_install_a_release_that_works(story):
    assert "STATUS: deployed" in story.readme
    assert "Phase:          Succeeded" in story.readme
    assert "SERRuns are served, and the operator is ready" in story.readme


def test_a_release_lives_with_a_crd_that_was_applied_by_hand(story):
    assert "Phase:          Succeeded" in story.by_hand
    assert story.owners[0] is None


def test_one_that_wants_the_crd_for_itself_is_refused(story):
    assert 'CustomResourceDefinition "serruns.ser.dev"' in story.refused
    assert "invalid ownership metadata" in story.refused


def test_a_second_release_works_beside_the_first_and_after_it(story):
    assert "Phase:          Succeeded" in story.beside
    assert "Phase:          Succeeded" in story.alone


def test_a_release_can_take_the_crd_over_and_leaves_it_behind(story, plane):
    assert story.owners[1] == "ser-operator"
    assert plane.api().get(CRD)["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == "lab"


def test_an_operator_is_taken_back_to_an_older_chart_and_the_newer_crd_stays(story):
    before, after = story.rolled_back
    assert before == after


def test_what_was_set_outlives_an_upgrade(story):
    """A value that was taken away by null stays away, and the new one is there."""
    pod = story.by_the_platform["spec"]["template"]["spec"]
    told = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}

    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert told["SER_OPERATOR_SECURITY_CONTEXT"] == "{}"
    assert told["SER_OPERATOR_WORKERS"] == "4"
    assert told["SER_OPERATOR_IMAGE"] == f"registry.example/ser-jobs@{DIGEST}"


def test_helm_test_fails_where_the_operator_does(story):
    assert "no pod of the operator is ready" in story.broken


def test_of_a_test_that_passed_its_pod_alone_is_left(story, plane):
    left = [plane.api().find(f"/{place}/ser-operator-test") is not None for place in OF_THE_TEST]

    assert left == [True, False, False, False]
