"""One run goes through much, since every start of torch costs seconds: its base model comes from the hub, its first training is looked at
from inside, its pod is deleted, and at last its store takes other keys than those that it was started with. It never gets to its end."""

import base64
import json
import secrets

import pytest

from node import hub, inputs, looks
from node.machine import addresses
from node.release import LAB
from node.run import Expected
from node.strangers import PORT, Stranger

SECRET = "ser-rotated"
AT_WORK_AGAIN = 'ser_run_progress_ratio{run="long"} and on () ser_run_failed_attempts and on () last_over_time(ser_run_waiting_seconds[1h])'
"""Seen before the run is deleted: the board of all runs is drawn as it was then."""
KEY = "/etc/ser/storage-credentials/AWS_SECRET_ACCESS_KEY"


class Story:
    """What was seen on the way; see `story`."""


def keys(cluster, name, secret):
    """The run's Secret holds these keys from now on."""
    data = {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": secret}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": encoded}
    cluster.plane.kubectl("apply", "--namespace", LAB, "-f", "-", input=json.dumps(document))


@pytest.fixture(scope="module")
def story(cluster, start, scraped):
    told = Story()
    old, new = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    cluster.store.let_in({"old": old})
    keys(cluster, "old", old)
    foreign = Stranger(cluster, "elsewhere", "foreign")
    neighbour = Stranger(cluster, LAB, "neighbour")
    prometheus = Stranger(cluster, "monitoring", "prometheus", {"app.kubernetes.io/name": "prometheus"})
    storage = {"uri": f"s3://{inputs.BUCKET}/runs/long", "endpoint": inputs.STORE, "credentialsSecret": SECRET}
    run = told.run = start(
        "long",
        rewardModel={"base": f"hf://{hub.MODEL}", "maxLength": 32, "precision": "fp32"},
        hub={"endpoint": hub.ENDPOINT},
        **inputs.LONG,
        storage=storage,
    )
    (pod,) = run.at_work("retrain", steps=3)
    told.prepared = run.ended("prepare", 1)
    look_around(told, pod, foreign, neighbour, prometheus)

    cluster.plane.kubectl("delete", "pod", "--namespace", LAB, pod["metadata"]["name"], "--wait=false")
    told.deleted = run.ended("retrain", 1)
    (second,) = run.at_work("retrain", 2, steps=3)
    told.resumed = [event["step"] for event in run.events(second, "resumed")]

    cluster.store.let_in({"old": old, "new": new})
    keys(cluster, "new", new)
    run.until(lambda: run.execute(second, f"print(open('{KEY}').read())").strip() == new)
    told.alive = run.status()["phase"]
    cluster.store.let_in({"new": new})
    told.refused = run.ended("retrain", 2)
    (third,) = run.at_work("retrain", 3, steps=3)
    told.resumed_with_new_keys = [event["step"] for event in run.events(third, "resumed")]
    scraped.now(AT_WORK_AGAIN)
    yield told
    run.delete()


def look_around(told, pod, foreign, neighbour, prometheus):
    """Who the stage is, whom it reaches, and who reaches it."""
    stage = (pod["status"]["podIP"], 9400)
    told.inside = json.loads(told.run.execute(pod, looks.SELF))
    told.store_name = json.loads(told.run.execute(pod, looks.resolve("store.default.svc")))
    targets = {
        "store": (addresses.STORE, addresses.STORE_PORT),
        "hub": (addresses.HUB, addresses.HUB_PORT),
        "API server": (addresses.NODE, addresses.API_SERVER_PORT),
        "API service": (addresses.API_SERVICE, 443),
        "kubelet": (addresses.NODE, 10250),
        "foreign pod": (foreign.pod()["status"]["podIP"], PORT),
        "neighbour": (neighbour.pod()["status"]["podIP"], PORT),
    }
    told.reached = json.loads(told.run.execute(pod, looks.connections(targets)))
    everywhere = looks.connections({**targets, "stage": stage})
    told.reached_by_foreign, told.reached_by_neighbour = foreign.look(everywhere), neighbour.look(everywhere)
    prometheus.pod()
    told.reached_by_prometheus = prometheus.look(looks.connections({"stage": stage, "other port of the stage": (stage[0], 9399)}))


def test_prepare_fetches_the_base_model_from_the_hub(story):
    """Expected: Done at the first attempt; the stages after it read the store."""
    assert Expected.of(story.prepared) == Expected("Done", "", 0, charged=False)


def test_a_stage_is_nobody_and_writes_to_its_own_folders_alone(story):
    """Expected: uid 65532; a filter of system calls, no capability, no way to more; read-only root; no token of the API server."""
    seen = story.inside
    assert seen["uid"] == 65532
    assert (seen["seccomp"], seen["capabilities"], seen["more privileges"]) == ("2", 0, False)
    assert seen["writes"] == ["/work", "/tmp", "/dev/shm"]
    assert not seen["token"]


def test_a_stage_is_of_no_group_of_the_system(story):
    """Expected: gid 65532, and root's group nowhere."""
    assert story.inside["gid"] == 65532
    assert set(story.inside["groups"]) <= {65532}


def test_a_stage_reaches_store_and_names_and_nothing_else(story):
    """Expected: the store by its name in the cluster; neither hub nor API server nor kubelet nor any pod that is not a stage."""
    assert story.store_name.startswith("10.96.0.")
    assert [name for name, reached in story.reached.items() if reached] == ["store"]


def test_nobody_foreign_reaches_a_stage(story):
    """Expected: whoever no policy is about reaches all the others (so the network is there), and the stage not."""
    for reached in (story.reached_by_foreign, story.reached_by_neighbour):
        assert reached == {**dict.fromkeys(reached, True), "stage": False}


def test_prometheus_reads_a_stage_at_its_one_port(story):
    assert story.reached_by_prometheus == {"stage": True, "other port of the stage": False}


def test_a_deleted_pod_saves_what_it_has_and_is_not_charged(story):
    """Expected: SIGTERM, a checkpoint, exit 143; the next attempt goes on from that step."""
    assert Expected.of(story.deleted) == Expected("Interrupted", "Interrupted", 143, charged=False)
    assert story.deleted["checkpointStep"] > 0
    assert story.resumed == [story.deleted["checkpointStep"]]


def test_a_rotated_secret_is_read_by_the_next_attempt(story):
    """Expected: the kubelet brings the new keys into the running pod, the stage goes on with the old ones, and once the store refuses
    these the attempt ends with StoreAccessDenied, exit 20, uncharged; the next one has the new keys and goes on from the checkpoint."""
    assert story.alive == "Running"
    assert Expected.of(story.refused) == Expected("Failed", "StoreAccessDenied", 20, charged=False)
    assert [step >= story.resumed[0] for step in story.resumed_with_new_keys] == [True]
