"""Statuses of a pod with one container, in the words of a real kubelet."""

from dataclasses import dataclass
from datetime import UTC, datetime

from controlplane.plane.api_client import Object


def now() -> str:
    """This second, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class StatusWriter:
    """Builds the statuses of one pod.

    Attributes:
        pod: The stored pod.
        address: IP of the pod, reported once its container runs.
        accepted: When the kubelet first saw the pod.
    """

    pod: Object
    address: str
    accepted: str

    def waiting(self, reason: str, message: str = "") -> Object:
        """The container cannot start yet."""
        state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        return self._status("Pending", state, "ContainersNotReady")

    def running(self, started: str, *, ready: bool, restarts: int) -> Object:
        """The container runs.

        Args:
            started: When it started.
            ready: Whether its readiness probe says so, or it has none.
            restarts: How often it was started again.
        """
        not_ready = None if ready else "ContainersNotReady"
        return {**self._status("Running", {"running": {"startedAt": started}}, not_ready, restarts), **self._addresses()}

    def backing_off(self, restarts: int) -> Object:
        """The container has ended and will be started again."""
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
        return {**self._status("Running", state, "ContainersNotReady", restarts), **self._addresses()}

    def terminated(self, exit_code: int, reason: str, message: str, started: str | None) -> Object:
        """The container has ended, and with it the pod.

        Args:
            exit_code: 128 + the signal if one ended it.
            reason: ``Completed``, ``Error``, ``OOMKilled``, …
            message: What it wrote to its termination message file.
            started: When it started; None if it never did.
        """
        ended = {"exitCode": exit_code, "reason": reason, "finishedAt": now()}
        if message:
            ended["message"] = message
        if started:
            ended |= {"startedAt": started, "containerID": f"process://{self.pod['metadata']['uid']}"}
        phase, why = ("Succeeded", "PodCompleted") if exit_code == 0 else ("Failed", "PodFailed")
        return {**self._status(phase, {"terminated": ended}, why), **(self._addresses() if started else {})}

    def refused(self, message: str) -> Object:
        """The pod is not run at all: how a kubelet answers at admission."""
        return {"phase": "Failed", "reason": "UnsupportedByProcessKubelet", "message": message, "startTime": self.accepted}

    def _status(self, phase: str, state: Object, not_ready: str | None, restarts: int = 0) -> Object:
        container = self.pod["spec"]["containers"][0]
        ready = not_ready is None
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "" if "waiting" in state else f"process://{container['image']}",
            "ready": ready,
            "started": ready or "running" in state,
            "restartCount": restarts,
            "state": state,
        }
        if "waiting" not in state:
            status["containerID"] = f"process://{self.pod['metadata']['uid']}"
        verdict = {"status": "True"} if ready else {"status": "False", "reason": not_ready}
        since = {"lastTransitionTime": now()}
        return {
            "phase": phase,
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "startTime": self.accepted,
            "conditions": [
                {"type": "Initialized", "status": "True", "lastTransitionTime": self.accepted},
                {"type": "ContainersReady", **verdict, **since},
                {"type": "Ready", **verdict, **since},
            ],
            "containerStatuses": [status],
        }

    def _addresses(self) -> Object:
        return {"podIP": self.address, "podIPs": [{"ip": self.address}]}
