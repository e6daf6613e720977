"""A real Prometheus scrapes the operator and the stage pods during a whole run with a policy: every query of every board returns data."""

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import pytest
from lanes import cannot_run

from boards.build import missing
from boards.gpu_exporter import Pod
from boards.scraping import AFTER_ITS_END, GPU_NODE, RULES, WHILE_NONE_WAITS, Scraped, scraping
from boards.verdict import faults
from controlplane.faults.fault_proxy import FaultProxy
from controlplane.faults.scenario import ROOT
from controlplane.kubelet.containers import Outcome
from controlplane.plane.operator_process import OperatorProcess
from controlplane.plane.prometheus import Prometheus
from ser_core.api.stage import StageResult

pytestmark = pytest.mark.timeout(1200)  # the first test waits for a whole run
NAMESPACE, NAME, SECRET, BUCKET = "scraped", "tiny", "ser-s3", "scraped"
NEIGHBOUR = Pod(NAMESPACE, f"ser-{NAME}-small-0-retrain-0123456789-abcde", "gpu-node-2", f"{NAME}-small", "0", "retrain")
"""Of another run, whose name begins like that of ours."""
TRAINS = {"retrain", "ppo"}
BEFORE_ITS_END = {"Controls", "Final score", "Score before", "Final KL", "Steps taken"}
QUERIES = [
    pytest.param(panel["title"], target["expr"], id=f"{path.stem}-{panel['title']}-{target['refId']}")
    for path in sorted((ROOT / "charts/ser-operator/dashboards").glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    for target in panel.get("targets") or ()
]


def document(s3):
    return {
        "apiVersion": "ser.dev/v1alpha1",
        "kind": "SERRun",
        "metadata": {"name": NAME},
        "spec": {
            "rewardModel": {"base": f"s3://{BUCKET}/model", "maxLength": 32, "precision": "fp32"},
            "data": {"source": {"uri": f"s3://{BUCKET}/pairs.jsonl", "seedFraction": 0.15, "heldoutFraction": 0.2}},
            "training": {"epochs": 20, "learningRate": 0.01, "pairsPerStep": 8, "tokensPerBatch": 512},
            "loop": {"maxIterations": 2, "folds": 2, "controls": ["seedOnly"]},  # what compares loops needs two
            "policy": {
                "base": f"s3://{BUCKET}/policy",
                "steps": 120,
                "rolloutsPerStep": 16,
                "promptTokens": 40,
                "answerTokens": 8,
                "learningRate": 1e-3,
                "precision": "fp32",
            },
            "resources": {kind: {"cpu": "1"} for kind in ("prepare", "label", "filter", "retrain", "ppo")},
            "storage": {"uri": f"s3://{BUCKET}/runs", "endpoint": s3.endpoint, "credentialsSecret": SECRET},
        },
    }


@pytest.fixture(scope="module")
def inputs(s3, tiny_model, qwen, pairs_file):
    """Reward model, policy and data in a bucket."""
    s3.create_bucket(BUCKET)
    with contextlib.closing(s3.client()) as client:
        client.upload_file(str(pairs_file), BUCKET, "pairs.jsonl")
        for name, folder in (("model", tiny_model), ("policy", qwen)):
            for path in folder.iterdir():
                client.upload_file(str(path), BUCKET, f"{name}/{path.name}")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with Prometheus(tmp_path_factory.mktemp("prometheus"), RULES) as running:
        yield running


@pytest.fixture(scope="module")
def stages(kubelet, prometheus):
    """The first attempt to label ends as one does that the store fails; all others are real.

    What trains begins when Prometheus has heard of its pod: it looks every 5 s only, and a tiny model may be trained by then.
    """
    failed = threading.Event()

    def play(pod):
        stage = pod.labels["ser.dev/stage"]
        if stage == "label" and not failed.is_set():
            failed.set()
            told = StageResult(outcome="failed", reason="StoreUnavailable", message="the store is away")
            return Outcome(20, told.model_dump_json(by_alias=True), delay=1)
        if stage in TRAINS:
            wait_until(lambda: prometheus.query(f'up{{pod="{pod.name}"}}') or pod.terminating.is_set())
        container = kubelet.process_container(pod)
        container.start()
        return container.wait()

    kubelet.double = play
    yield
    kubelet.double = None


@pytest.fixture(scope="module")
def scraped(control_plane, kubelet, s3, crd, inputs, stages, prometheus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scraped")
    kubectl = lambda *words, **more: control_plane.kubectl(*words, **{"timeout": 1010, **more}).stdout  # noqa: E731
    kubectl("create", "namespace", NAMESPACE)
    kubectl("apply", "--namespace", NAMESPACE, "-f", str(ROOT / "operator" / "rbac.yaml"))
    literals = [f"--from-literal={key}={value}" for key, value in s3.credentials.items()]
    kubectl("create", "secret", "generic", SECRET, "--namespace", NAMESPACE, *literals)
    with FaultProxy(control_plane.server, control_plane.certificate) as proxy:
        kubeconfig = proxy.kubeconfig(folder, control_plane.token(f"{NAMESPACE}/ser-operator"), NAMESPACE)
        operator = OperatorProcess(kubeconfig, NAMESPACE, folder, code=ROOT, resync_seconds=5).start()
        try:
            with scraping(prometheus, control_plane.api(), NAMESPACE, operator.address(), [NEIGHBOUR]):
                seen = Scraped(prometheus, NAMESPACE, NAME)
                kubectl("apply", "--namespace", NAMESPACE, "-f", "-", input=json.dumps(document(s3)))
                kubectl("wait", "--namespace", NAMESPACE, "--for=condition=Completed", "--timeout=1000s", f"serrun/{NAME}")
                seen.now(f'ser_run_phase{{run="{NAME}", phase="Completed"}}')
                (best,) = prometheus.query("ser_run_best_iteration")
                assert best["value"][1] != "0", "the policy's witness is the seed model, so another one must be the best"
                seen.end = time.time() + 1  # else the last step may lie before the last scrape
                yield seen
        finally:
            operator.kill()


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_every_query_of_every_board_returns_data(scraped, title, expression):
    assert scraped.ever(expression), expression


def test_gpus_are_those_of_the_run_alone(scraped):
    (query,) = [query.values[1] for query in QUERIES if query.values[0] == "GPU utilisation"]

    assert {(one["Hostname"], one["gpu"]) for one in scraped.ever(query)} == {(GPU_NODE, "0"), (GPU_NODE, "1")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Where the boards are drawn to."""
    if reason := missing():
        cannot_run(reason)
    folder = os.environ.get("SER_PICTURES")
    return Path(folder) if folder else tmp_path_factory.mktemp("boards")


def test_the_fleet_is_drawn_while_the_policy_trains(scraped, pictures):
    assert not faults(scraped.drawn("ser-runs", pictures / "ser-runs.png", while_the_policy_trains(scraped)), WHILE_NONE_WAITS)


def test_every_panel_of_a_run_is_drawn_while_its_policy_trains(scraped, pictures):
    picture = pictures / "ser-run-during.png"

    assert not faults(scraped.drawn("ser-run", picture, while_the_policy_trains(scraped), "light"), BEFORE_ITS_END)


def test_every_panel_of_a_run_is_drawn_after_its_end(scraped, pictures):
    assert not faults(scraped.drawn("ser-run", pictures / "ser-run.png"), AFTER_ITS_END)


def test_every_panel_of_the_operator_is_drawn(scraped, pictures):
    assert not faults(scraped.drawn("ser-operator", pictures / "ser-operator.png"))


def while_the_policy_trains(scraped):
    return scraped.last("ser_run_progress_ratio and on (run) ser_policy_score")


def test_every_stage_that_trains_was_scraped_while_it_ran(scraped):
    seen = {one["stage"] for one in scraped.ever("ser_stage_start_timestamp_seconds")}
    assert seen >= TRAINS  # the others may end between two scrapes


def test_namespaces_are_those_of_the_runs(scraped):
    assert {one["namespace"] for one in scraped.ever("{__name__=~'ser_run_.*|ser_stage_.*', namespace!=''}")} == {NAMESPACE}


def test_the_alert_for_a_failing_store_fires_and_no_other(scraped):
    fired = {one["alertname"] for one in scraped.ever('ALERTS{alertstate="firing"}')}

    assert fired == {"SERRunStoreErrors"}


def test_no_series_has_more_labels_than_the_table_allows(scraped):
    names = scraped.prometheus.query("count by (__name__) ({__name__=~'ser_.*'})")

    assert len(names) > 40
    assert all(float(one["value"][1]) < 60 for one in names)


def test_a_stage_vanishes_with_its_pod_and_a_run_with_its_object(scraped, control_plane):
    wait_until(lambda: not scraped.prometheus.query("ser_stage_work_done"))
    assert scraped.prometheus.query("ser_iteration_accuracy_ratio")

    control_plane.kubectl("delete", "serrun", NAME, "--namespace", NAMESPACE)

    wait_until(lambda: not scraped.prometheus.query("{__name__=~'ser_(run|iteration)_.*'}"))
    assert scraped.prometheus.query("ser_operator_build_info"), "the operator itself is still there"
