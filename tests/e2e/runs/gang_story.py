"""What the tests of gangs do to a run, and what they see of it: attempts, pods, what these say, and what lies in the store."""

import contextlib
import json
import time
from pathlib import Path

from controlplane.plane.nodes import GPU
from controlplane.plane.workspace import Workspace

INDEX = "batch.kubernetes.io/job-completion-index"
URGENT = "urgent"
STEPS = 3
"""From the second step on the next one is due (`ser_jobs.supervisor.silence`)."""


class GangStory:
    """One run in a bucket of its own. Tests keep what they saw on the way as further attributes."""

    def __init__(self, scenario, s3, bucket, node):
        self.scenario, self.s3, self.bucket, self.node = scenario, s3, bucket, node

    # Attempts and their pods

    def running(self, stage, number, seconds=400):
        """Wait until all pods of an attempt run and its training steps; returns them, pod 0 first."""
        pods = self.until(lambda: self._pods_that_run(stage, number), seconds)
        self.until(lambda: self._steps(pods[0]), seconds)
        return pods

    def ended(self, stage, number, seconds=400):
        """Wait for the end of an attempt; returns its row."""
        status = self.scenario.wait(lambda status: row_of(status, stage, number).get("outcome", "Running") != "Running", seconds)
        return row_of(status, stage, number)

    def last_seen(self, pods):
        """Pods of an ended attempt as they are, or were before they went."""
        work = Workspace(self.scenario.plane, self.scenario.namespace)
        return [self.scenario.api.find(work.path("pods", pod["metadata"]["name"])) or work.last_seen(pod) for pod in pods]

    def events(self, pod, name):
        """What a pod has said under a name."""
        lines = self.scenario.kubelet.logs(self.scenario.namespace, pod["metadata"]["name"]).splitlines()
        return [json.loads(line) for line in lines if f'"event": "{name}"' in line]

    def resumed_at(self, pods):
        """The steps from which the processes of pods have gone on."""
        return [event["step"] for pod in pods for event in self.events(pod, "resumed")]

    def _pods_that_run(self, stage, number):
        row = row_of(self.scenario.status(), stage, number)
        pods = sorted(self.scenario.pods(row["job"]), key=lambda pod: pod["metadata"]["annotations"][INDEX]) if row else []
        return pods if len(pods) == 2 and all(pod["status"].get("podIP") for pod in pods) else None

    def _steps(self, pod):
        return len({event["step"] for event in self.events(pod, "progress")}) > STEPS

    # GPUs

    def gpus_in_use(self):
        """GPUs of the node that pods hold."""
        pods = self.scenario.api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={self.node}")
        live = [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
        return sum(int(pod["spec"]["containers"][0]["resources"].get("limits", {}).get(GPU, 0)) for pod in live)

    def need_gpus_urgently(self, gpus):
        """Let somebody's pod come that is worth more than the run's."""
        value = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": URGENT}, "value": 1000}
        self.scenario.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", value)
        container = {"name": "main", "image": "any", "command": ["sleep", "600"], "resources": {"limits": {GPU: str(gpus)}}}
        spec = {"priorityClassName": URGENT, "restartPolicy": "Never", "nodeSelector": {"kubernetes.io/hostname": self.node}}
        pod = {"metadata": {"name": URGENT}, "spec": {**spec, "automountServiceAccountToken": False, "containers": [container]}}
        self.scenario.api.create(self.scenario.collection("pods"), pod)

    def need_gpus_no_more(self):
        """The end of `need_gpus_urgently`."""
        self.scenario.api.delete(f"{self.scenario.collection('pods')}/{URGENT}")
        self.scenario.api.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{URGENT}")

    # The store

    def keys(self, part):
        """Keys of the store that contain a text."""
        with contextlib.closing(self.s3.client()) as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="runs/")
            return [entry["Key"] for page in pages for entry in page.get("Contents", ()) if part in entry["Key"]]

    def read(self, key):
        """Content of a key."""
        with contextlib.closing(self.s3.client()) as client:
            return client.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode()

    @staticmethod
    def until(found, seconds=240):
        """Wait until ``found()`` is true; returns it."""
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.2)
        return value


def row_of(status, stage, number):
    """The row of an attempt of a stage at iteration 0; empty when there is none."""
    rows = status.get("stages", ())
    return next((row for row in rows if (row["stage"], row["iteration"], row["attempt"]) == (stage, 0, number)), {})


def process_of(pod, rank):
    """Process id of a rank of a pod, which a real node would hide in a container: it holds the file open that its stacks would go to."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            opened = [file.readlink() for file in (folder / "fd").iterdir()] if folder.name.isdecimal() else []
            if any(file.name == f"stacks-{rank:04d}" and f"/{pod['metadata']['name']}-" in str(file) for file in opened):
                return int(folder.name)
    raise AssertionError(f"rank {rank} does not run")
