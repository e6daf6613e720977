"""One SERRun on the node, as its user sees it: kubectl, `ser`, its Jobs and pods."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import yaml

from controlplane.plane.api_client import Object
from node.machine.cluster import Cluster
from node.release import LAB, NAME
from ser_core.api.serrun import API_VERSION

T = TypeVar("T")

PATIENCE = 1200
"""Seconds; no test waits that long unless the machine is very busy or the story has gone wrong."""


@dataclass(frozen=True)
class Expected:
    """How an attempt ends, and who pays for it."""

    outcome: str
    reason: str
    exit_code: int | None
    charged: bool

    @classmethod
    def of(cls, row: Object) -> "Expected":
        """What a row of the status says."""
        return cls(row["outcome"], row.get("reason", ""), row.get("exitCode"), row.get("charged", False))


class Run:
    """A run in the namespace of runs; its name tells it from the others."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.api = cluster.plane.api()

    def apply(self, spec: Object) -> "Run":
        """`kubectl apply`."""
        document = {"apiVersion": API_VERSION, "kind": "SERRun", "metadata": {"name": self.name}, "spec": spec}
        self.cluster.plane.kubectl("apply", "--namespace", LAB, "-f", "-", input=json.dumps(document))
        return self

    def delete(self) -> None:
        """`kubectl delete`, until the pods are gone."""
        self.cluster.plane.kubectl("delete", "serrun", self.name, "--namespace", LAB, timeout=PATIENCE)
        self.until(lambda: not self.pods())

    # What is seen

    def status(self) -> Object:
        """The status; empty before the first."""
        return self.api.get(f"/apis/{API_VERSION}/namespaces/{LAB}/serruns/{self.name}").get("status") or {}

    def rows(self, stage: str, iteration: int = 0) -> list[Object]:
        """The attempts of a stage, oldest first."""
        return [row for row in self.status().get("stages", ()) if (row["stage"], row["iteration"]) == (stage, iteration)]

    def pods(self, **labels: str) -> list[Object]:
        """The run's pods, pod 0 of a gang first."""
        selector = ",".join(f"{key}={value}" for key, value in {"ser.dev/run": self.name, **labels}.items())
        return sorted(self.api.items(f"/api/v1/namespaces/{LAB}/pods", labelSelector=selector), key=lambda pod: pod["metadata"]["name"])

    def events(self, pod: Object, name: str) -> list[Object]:
        """What a stage has said under a name."""
        ended = self.cluster.plane.kubectl("logs", "--namespace", LAB, pod["metadata"]["name"], check=False)
        return [json.loads(line) for line in ended.stdout.splitlines() if f'"event": "{name}"' in line]

    def execute(self, pod: Object, code: str) -> str:
        """Run Python in a pod's container; returns what it prints."""
        command = ("exec", "--namespace", LAB, pod["metadata"]["name"], "--", "python", "-c", code)
        return self.cluster.plane.kubectl(*command, timeout=PATIENCE).stdout

    def why(self) -> dict[str, str]:
        """`ser why`: cause, evidence, fix."""
        return json.loads(self.ser("why", "--output", "json"))

    def ser(self, verb: str, *words: str) -> str:
        """What a command of `ser` says of the run."""
        command_line = [sys.executable, "-m", "ser_core.cli.app", verb, self.name, "--namespace", LAB, *words]
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(self.cluster.plane.kubeconfig())}
        ended = subprocess.run(command_line, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    # Waiting

    def until(self, found: Callable[[], T | None], seconds: float = PATIENCE) -> T:
        """Wait until ``found()`` is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.2)
        return value

    def end(self) -> Object:
        """Wait until the run is Completed or Failed; returns its status."""
        return self.until(lambda: status if (status := self.status()).get("phase") in ("Completed", "Failed") else None)

    def ended(self, stage: str, number: int, iteration: int = 0) -> Object:
        """Wait for the end of an attempt; returns its row."""

        def found() -> Object | None:
            rows = [row for row in self.rows(stage, iteration) if row["attempt"] == number]
            return rows[0] if rows and rows[0]["outcome"] != "Running" else None

        return self.until(found)

    def at_work(self, stage: str, number: int = 1, steps: int = 0, pods: int = 1) -> list[Object]:
        """Wait until the pods of an attempt run, and its first has told of ``steps`` steps; pods that must go do not count."""

        def found() -> list[Object] | None:
            seen = self.pods(**{"ser.dev/stage": stage, "ser.dev/attempt": str(number)})
            staying = [pod for pod in seen if "deletionTimestamp" not in pod["metadata"]]
            running = [pod for pod in staying if pod["status"]["phase"] == "Running" and pod["status"].get("podIP")]
            if len(running) != pods:
                self.check_that_it_lives()
                return None
            told = {event["step"] for event in self.events(running[0], "progress")} if steps else set()
            return running if len(told) >= steps else None

        return self.until(found)

    def check_that_it_lives(self) -> None:
        """Fail at once if the run has."""
        assert self.status().get("phase") != "Failed", self.told()

    def told(self) -> str:
        """Everything that explains a failed test."""
        kubectl = self.cluster.plane.kubectl
        seen = kubectl("get", "pods,jobs,events", "--namespace", LAB, check=False).stdout[-6000:]
        log = kubectl("logs", "--namespace", LAB, f"deploy/{NAME}", "--tail=20", check=False).stdout
        return f"{self.name}: {yaml.safe_dump(self.status())}\n{seen}\n{log}"
