"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes on loopback ports."""

import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3
from ports import free_ports

from controlplane.plane import build, nodes
from controlplane.plane.api_client import ApiClient, ApiError, Object
from controlplane.plane.configuration import TOKENS, Configuration, Ports
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog

PARTS = ("etcd", "apiserver", "controller-manager", "scheduler")
READY_SECONDS = 300
GARBAGE = {"GOGC": "400"}
"""Go looks for garbage less often: an API server takes 300 MB more, and a quarter to a half less processor time."""
_TOKEN_SECONDS = 24 * 3600


class ControlPlane:
    """A real control plane: runs from entering the context to leaving it.

    A user is ``admin`` (in ``system:masters``) or a ServiceAccount, written ``namespace/name``.
    """

    def __init__(self, folder: Path, configuration: Configuration | None = None) -> None:
        """Data, logs and kubeconfigs go below ``folder``; ``configuration`` replaces the usual one, on loopback."""
        self._configuration = configuration or Configuration(folder, Ports(*free_ports(3)))
        self._watchdog = Watchdog()
        self._clients: dict[str, ApiClient] = {}
        self._parts = {name: Part(name, self._command(name), folder, self._watchdog, GARBAGE) for name in PARTS}

    def __enter__(self) -> Self:
        self._configuration.write()
        try:
            for name in ("etcd", "apiserver"):
                self._parts[name].start()
            self.wait_until_ready()
            for name in ("controller-manager", "scheduler"):
                self._parts[name].start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in reversed(self._parts.values()):
            part.end()
        for client in self._clients.values():
            client.close()
        self._watchdog.close()

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self._configuration.ports.apiserver}"

    @property
    def certificate(self) -> Path:
        """What a client verifies the API server with."""
        return self._configuration.certificate

    @property
    def folder(self) -> Path:
        """Where everything of this control plane is; logs are ``<part>.log``."""
        return self._configuration.folder

    def pid(self, part: str) -> int:
        """Process of a part of `PARTS`."""
        return self._parts[part].pid

    def kill(self, part: str) -> None:
        """SIGKILL a part and leave it dead."""
        self._parts[part].end()

    def start(self, part: str) -> None:
        """Start a part that was killed, on the same ports and data, and wait until the API server is ready, unless that is dead too."""
        self._parts[part].start()
        if self._parts["etcd"].runs and self._parts["apiserver"].runs:
            self.wait_until_ready()

    def restart(self, part: str) -> None:
        """SIGKILL a part and start it again."""
        self.kill(part)
        self.start(part)

    def wait_until_ready(self) -> None:
        """Wait until the API server says that it is, and reads from etcd."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            for part in self._parts.values():
                part.check()
            try:
                if self.certificate.exists() and self.api().text("/readyz") == "ok":
                    self.api().get("/api/v1/namespaces/default")  # /readyz notices a dead etcd late
                    return
            except (ApiError, urllib3.exceptions.HTTPError, OSError):
                pass  # not yet
            if time.monotonic() > deadline:
                raise TimeoutError(f"the API server is not ready after {READY_SECONDS} s; logs are in {self.folder}")
            time.sleep(0.05)

    def token(self, user: str) -> str:
        """Bearer token of a user; for a ServiceAccount a new one, good for a day."""
        if user in TOKENS:
            return TOKENS[user]
        namespace, name = user.split("/")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": _TOKEN_SECONDS}}
        answer = self.api().create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)
        return str(answer["status"]["token"])

    def kubeconfig(self, user: str = "admin") -> Path:
        """Kubeconfig of a user, written anew; each ServiceAccount has a file of its own."""
        return self._configuration.kubeconfig(user, self.token(user))

    def api(self, user: str = "admin") -> ApiClient:
        """Client of a user, kept until the control plane ends."""
        if user not in self._clients:
            self._clients[user] = ApiClient(self._configuration.ports.apiserver, self.token(user), self.certificate)
        return self._clients[user]

    def kubectl(
        self, *arguments: str, input: str | None = None, user: str = "admin", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as a user.

        Args:
            arguments: Words after ``kubectl``.
            input: Standard input, for ``-f -``.
            user: Who acts.
            check: Whether a failure raises, with kubectl's words.
            timeout: Seconds.
        """
        command = [*build.command("kubectl"), f"--kubeconfig={self.kubeconfig(user)}", *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}  # HOME holds the discovery cache
        ended = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
        if check and ended.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return ended

    def audit_events(self) -> list[Object]:
        """Every request that the API server has answered; watches appear twice, as they start and end."""
        lines = self._configuration.audit_log.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]  # the last is empty, or just being written

    def add_node(self, name: str, cpu: str = "64", memory: str = "256Gi", gpus: int = 8) -> None:
        """Add a node to which the scheduler binds pods; `ProcessKubelet` runs them."""
        nodes.add_node(self.api(), name, cpu=cpu, memory=memory, gpus=gpus)

    def _command(self, part: str) -> list[str]:
        configuration = self._configuration
        flags = {
            "etcd": lambda: [str(configuration.etcd_file)],
            "apiserver": configuration.apiserver_flags,
            "controller-manager": configuration.controller_manager_flags,
            "scheduler": configuration.scheduler_flags,
        }
        return [*build.command(part), *flags[part]()]
