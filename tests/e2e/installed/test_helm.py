"""The chart as it is shipped: Helm installs it, its Deployment runs the operator, and it is upgraded in the middle of a run.

On a control plane of its own, where no other test has made the CRD before Helm does.
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field

import pytest
import yaml
from chart.installing import chart_user
from chart.rendering import CHART, DIGEST, MATRIX, objects
from documents import replaced, shown

from controlplane.cluster import ControlPlane, ProcessKubelet
from controlplane.kubelet.kubelet_logs import KubeletLogs
from controlplane.plane.build import binary

pytestmark = pytest.mark.timeout(1200)
NODE, RELEASE, SYSTEM, LAB = "gpu-node", "ser-operator", "ser-system", "lab"
BUCKET, RUN, SECRET = "helm", "tiny", "ser-s3"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
VALUES = {"watchNamespaces": [LAB], "stages": {"image": {"repository": "registry.example/ser-jobs", "digest": DIGEST}}}
ALLOW = "--set 'allow.read={*}' --set 'allow.endpoints={*}'"
DASHBOARDS = {"monitoring": {"dashboards": {"enabled": True}}}
NEXT_DIGEST = f"sha256:{'f' * 64}"


@dataclass
class Story:
    """What happened, for the tests to look at.

    Attributes:
        notes: What `helm install` said.
        operators: Names of the operator's pods: as installed, and after the upgrade.
        before: Jobs of the run when the upgrade began, by name.
        held: The pod that ran meanwhile.
        after: Jobs of the run at its end, by name.
        run: The run at its end.
        kept: The run after `helm uninstall`.
        restarts: How often the upgraded operator was started again.
        log: Log of both operators.
        looked: What the runbook of a silent operator shows.
        readme: What the commands of README.md said, followed when the run had ended.
    """

    notes: str = ""
    operators: list = field(default_factory=list)
    before: dict = field(default_factory=dict)
    held: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    run: dict = field(default_factory=dict)
    kept: dict = field(default_factory=dict)
    restarts: int = -1
    log: str = ""
    looked: str = ""
    readme: str = ""


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """A control plane without SERRuns, with two namespaces that take restricted pods alone."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as running:
        running.add_node(NODE)
        for namespace in (SYSTEM, "team-a", "team-b"):
            running.kubectl("create", "namespace", namespace)
            running.kubectl("label", "namespace", namespace, RESTRICTED)
        yield running


@pytest.fixture(scope="module")
def follow(plane, tmp_path_factory):
    """Runs the commands of a text as one with all rights, in the repository's folder, with a file serrun.yaml."""
    return chart_user(plane, tmp_path_factory.mktemp("documents"))


def helm(plane, *arguments, values=None):
    """Run Helm as a user with all rights; returns what it says."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(plane.folder), "KUBECONFIG": str(plane.kubeconfig())}
    words = [str(binary("helm")), *arguments, "--namespace", SYSTEM, *(["--values", "-"] if values is not None else [])]
    ended = subprocess.run(words, input=json.dumps(values), env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}\n{plane.kubectl('get', 'pods,events', '-A').stdout}"
    return ended.stdout


def serrun(s3, tiny_model, pairs_file):
    """A SERRun of one loop, its inputs in a bucket."""
    s3.create_bucket(BUCKET)
    client = s3.client()
    for path in [*tiny_model.iterdir(), pairs_file]:
        client.upload_file(str(path), BUCKET, f"inputs/{'model' if path.parent == tiny_model else 'data'}/{path.name}")
    client.close()
    return {
        "apiVersion": "ser.dev/v1alpha1",
        "kind": "SERRun",
        "metadata": {"name": RUN},
        "spec": {
            "rewardModel": {"base": f"s3://{BUCKET}/inputs/model", "maxLength": 32, "precision": "fp32"},
            "data": {
                "source": {"uri": f"s3://{BUCKET}/inputs/data/{pairs_file.name}", "seedFraction": 0.3, "heldoutFraction": 0.2},
            },
            "training": {"epochs": 1, "learningRate": 0.01, "pairsPerStep": 8, "tokensPerBatch": 512},
            "loop": {"maxIterations": 1},
            "resources": {kind: {"cpu": "1"} for kind in ("prepare", "label", "filter", "retrain")},
            "storage": {"uri": f"s3://{BUCKET}/runs", "endpoint": s3.endpoint, "credentialsSecret": SECRET},
        },
    }


def operator_pods(plane):
    """The operator's pods that are not on their way out."""
    found = plane.api().items(f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector="app.kubernetes.io/name=ser-operator")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def jobs(plane):
    return {job["metadata"]["name"]: job for job in plane.api().items(f"/apis/batch/v1/namespaces/{LAB}/jobs")}


@pytest.fixture(scope="module")
def documented(s3):
    """Blocks of the documents with what they leave to the reader filled in. The operator has a namespace of its own."""
    keys = {f"{name}=…": f"{name}={value}" for name, value in s3.credentials.items()}
    aside = {"ser-operator --namespace lab": f"ser-operator --namespace {SYSTEM}"}
    aside_of_the_runs = {
        "charts/ser-operator --namespace lab": f"charts/ser-operator --namespace {SYSTEM} --set watchNamespaces={{lab}} {ALLOW}"
    }
    images = {"REGISTRY": "registry.example", "stages.image.repository": f"stages.image.digest={DIGEST} --set stages.image.repository"}
    restricted = {"kubectl create namespace lab": f"kubectl create namespace lab\nkubectl label namespace lab {RESTRICTED}"}
    changed = {"--reset-then-reuse-values": f"--reset-then-reuse-values --set stages.image.digest={NEXT_DIGEST} --set settings.workers=4"}
    return {
        "install": replaced(shown("docs/install.md", "Four commands").text, {**keys, **aside_of_the_runs, **images, **restricted}),
        "upgrade": replaced(shown("docs/install.md", "Upgrade").text, {**aside_of_the_runs, **changed}),
        "uninstall": replaced(shown("docs/install.md", "Uninstall").text, aside),
        "readme": replaced(
            shown("README.md", "On a cluster").text, {**keys, **aside_of_the_runs, "REGISTRY": "registry.example", "mine": RUN}
        ),
        "runbook": replaced(shown("docs/runbooks.md", "SEROperatorDown").text, {"lab": SYSTEM}),
    }


@pytest.fixture(scope="module")
def story(plane, s3, tiny_model, pairs_file, tmp_path_factory, follow, documented):
    """Install, apply, upgrade while a stage runs, completed, uninstall, install again."""
    told, logs = Story(), tmp_path_factory.mktemp("logs")
    kubectl = lambda *words, **more: plane.kubectl(*words, "--namespace", LAB, **{"timeout": 820, **more}).stdout  # noqa: E731
    document = serrun(s3, tiny_model, pairs_file)
    with ProcessKubelet(plane, tmp_path_factory.mktemp("pods"), NODE) as kubelet, KubeletLogs(kubelet, plane.api(), NODE, logs):
        with kubelet.hold({"ser.dev/stage": "label"}) as gate:
            told.notes = follow(documented["install"], document)
            told.operators += operator_pods(plane)
            held = gate.wait_for_pod(timeout=240)
            told.before = jobs(plane)
            follow(documented["upgrade"])
            told.operators += operator_pods(plane)
            told.held = plane.api().get(f"/api/v1/namespaces/{LAB}/pods/{held.name}")
        kubectl("wait", "--for=condition=Completed", "--timeout=800s", f"serrun/{RUN}")
        told.after, told.run = jobs(plane), json.loads(kubectl("get", "serrun", RUN, "-o", "json"))
        (last,) = operator_pods(plane)
        told.restarts = last["status"]["containerStatuses"][0]["restartCount"]
        told.looked = follow(documented["runbook"])
        follow(documented["uninstall"])
        told.kept = json.loads(kubectl("get", "serrun", RUN, "-o", "json"))
        told.log = "".join(kubelet.logs(SYSTEM, pod["metadata"]["name"]) for pod in told.operators)
        kubectl("delete", "secret", SECRET)
        told.readme = follow(documented["readme"], document)
        follow(documented["uninstall"])
        yield told


@pytest.mark.parametrize("values", [*MATRIX.values(), DASHBOARDS], ids=[*MATRIX, "dashboards"])
def test_the_api_server_takes_what_the_chart_renders(plane, values):
    ended = plane.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(objects(values)))

    assert "created (server dry run)" in ended.stdout
    assert ended.stderr == ""  # no warning, for example of pod security


def test_a_serrun_is_completed_by_the_operator_that_helm_installed(story):
    assert story.run["status"]["phase"] == "Completed"
    assert [row["iteration"] for row in story.run["status"]["iterations"]] == [0, 1]


def test_the_operator_works_under_its_own_token_and_is_refused_nothing(story, plane):
    names = [pod["metadata"]["name"] for pod in story.operators]
    time.sleep(0.5)  # the audit log is written in batches

    account = f"system:serviceaccount:{SYSTEM}:ser-operator"
    seen = [event for event in plane.audit_events() if event["user"].get("username") == account]

    assert set(names) <= {event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] for event in seen}
    assert [event["requestURI"] for event in seen if event.get("responseStatus", {}).get("code") == 403] == []
    assert [line for line in story.log.splitlines() if '"level": "error"' in line] == []
    assert story.restarts == 0


def test_an_upgrade_replaces_the_operator_and_nothing_of_a_live_run(story):
    old, new = story.operators

    assert old["metadata"]["uid"] != new["metadata"]["uid"]
    assert story.held["status"]["phase"] == "Running"
    assert {name: job["metadata"]["uid"] for name, job in story.before.items()}.items() <= {
        name: job["metadata"]["uid"] for name, job in story.after.items()
    }.items()
    images = {job["spec"]["template"]["spec"]["containers"][0]["image"] for job in story.after.values()}
    assert images == {f"registry.example/ser-jobs@{DIGEST}"}
    assert len(story.after) == 5  # prepare, retrain, label, filter, retrain: none twice


def test_uninstalling_keeps_the_crd_and_the_runs(story, plane):
    assert story.kept["metadata"]["uid"] == story.run["metadata"]["uid"]
    assert story.kept["status"] == story.run["status"]
    assert operator_pods(plane) == []
    assert plane.api().find(f"/api/v1/namespaces/{LAB}/serviceaccounts/ser-stage") is None


def test_a_runbook_finds_the_operators_pod_and_its_log(story):
    assert f"{SYSTEM}   {story.operators[-1]['metadata']['name']}" in story.looked
    assert '"level": "info"' in story.looked


def test_readmes_commands_find_the_run_that_was_kept(story):
    assert "STATUS: deployed" in story.readme
    assert f"serrun.ser.dev/{RUN} " in story.readme
    assert f"SERRun {LAB}/{RUN}\nphase         Completed" in story.readme


def test_installing_again_for_the_whole_cluster_finds_them(story, plane):
    """Ready means that the ClusterRole lets the operator LIST everywhere."""
    helm(plane, "install", RELEASE, str(CHART), "--wait", "--timeout", "3m", values={**VALUES, "clusterWide": True})
    try:
        assert plane.api().get(f"/apis/ser.dev/v1alpha1/namespaces/{LAB}/serruns/{RUN}")["metadata"]["uid"] == story.run["metadata"]["uid"]
    finally:
        helm(plane, "uninstall", RELEASE, "--wait", "--timeout", "3m")


def test_the_serrun_of_the_notes_is_taken(story, plane):
    document = story.notes.split("<<'YAML'\n")[1].split("\nYAML\n")[0]

    assert "serrun.ser.dev/hh created" in plane.kubectl("apply", "--dry-run=server", "--namespace", LAB, "-f", "-", input=document).stdout


@pytest.fixture(scope="module")
def roles(story, plane):
    """The rights of a release, and people who have the cluster roles view and edit."""
    helm(plane, "install", RELEASE, str(CHART), values=VALUES)
    for role in ("view", "edit"):
        plane.kubectl("create", "rolebinding", role, "--namespace", LAB, f"--clusterrole={role}", f"--user={role}er")
    yield
    helm(plane, "uninstall", RELEASE)


@pytest.mark.parametrize(
    ("user", "verb", "thing", "allowed"),
    [
        ("viewer", "get", "serruns", True),
        ("viewer", "watch", "serruns/status", True),
        ("viewer", "create", "serruns", False),
        ("editer", "create", "serruns", True),
        ("editer", "patch", "serruns", True),
        ("editer", "patch", "serruns/status", False),
        (f"system:serviceaccount:{SYSTEM}:ser-operator", "create", "jobs", True),
        (f"system:serviceaccount:{SYSTEM}:ser-operator", "get", "secrets", False),
        (f"system:serviceaccount:{SYSTEM}:ser-operator", "patch", "serruns", False),
        (f"system:serviceaccount:{LAB}:ser-stage", "get", "pods", False),
        (f"system:serviceaccount:{LAB}:ser-stage", "get", "serruns", False),
    ],
)
def test_rights_are_what_the_api_server_says(roles, plane, user, verb, thing, allowed):
    resource, _, subresource = thing.partition("/")
    words = [f"{resource}.ser.dev" if resource == "serruns" else resource, *([f"--subresource={subresource}"] if subresource else [])]
    deadline = time.monotonic() + 180
    said = None
    while said != allowed and time.monotonic() < deadline:  # roles are aggregated a moment later
        ended = plane.kubectl("auth", "can-i", verb, *words, "--namespace", LAB, f"--as={user}", check=False)
        said = ended.stdout.strip() == "yes"

    assert said == allowed
