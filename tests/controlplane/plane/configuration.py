"""Files and flags that the parts of the control plane are started with."""

import csv
import json
import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

TOKENS = {user: f"{user}-token" for user in ("admin", "controller-manager", "scheduler", "kubelet")}
"""Static tokens of the users that exist before the API server does."""

_NAMES = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", "system:masters"),  # all controllers in one user
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": ("system:node:process-kubelet", "system:masters"),  # node authorization knows one node a user
}

_CONTROLLERS = (
    "job-controller",
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "ttl-after-finished-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "resourcequota-controller",
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
)
"""Without node-lifecycle-controller: no heartbeat is missed. Without endpoints: EndpointSlices refuse 127.0.0.0/8."""

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Request", "verbs": ["update"], "resources": [{"group": "batch", "resources": ["jobs/status"]}]},
        {"level": "Metadata"},
    ],
}
"""Of all requests who asked what; of the Job controller's also what it wrote, since `hand_overs` must know which write completed a Job."""


@dataclass(frozen=True)
class Ports:
    """Loopback ports, the same after a restart."""

    etcd: int
    etcd_peer: int
    apiserver: int


@dataclass(frozen=True)
class Configuration:
    """One control plane, everything of it below ``folder``."""

    folder: Path
    ports: Ports

    @property
    def certificate(self) -> Path:
        """What clients verify the API server with; it makes this file itself."""
        return self.folder / "certificates" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        """One JSON event a line."""
        return self.folder / "audit.jsonl"

    @property
    def etcd_file(self) -> Path:
        """The whole configuration of etcd."""
        return self.folder / "etcd.json"

    def write(self) -> None:
        """Write everything that is known before the API server runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_service_account_key()
        with (self.folder / "tokens.csv").open("w", newline="") as file:
            csv.writer(file).writerows([TOKENS[user], name, user, *filter(None, [group])] for user, (name, group) in _NAMES.items())
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.ports.etcd, self.ports.etcd_peer))
        etcd = {
            "name": "etcd",
            "data-dir": str(self.folder / "etcd-data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"etcd={peer}",
            "unsafe-no-fsync": True,
            "log-level": "error",
        }
        self.etcd_file.write_text(json.dumps(etcd))
        (self.folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
        scheduler = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {"kubeconfig": str(self.kubeconfig("scheduler", TOKENS["scheduler"])), "qps": 500, "burst": 1000},
            "podMaxBackoffSeconds": 2,  # a test waits for a second try
        }
        (self.folder / "scheduler.json").write_text(json.dumps(scheduler))

    def kubeconfig(self, user: str, token: str) -> Path:
        """File with which a client acts as a user."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": f"https://127.0.0.1:{self.ports.apiserver}", "certificate-authority": str(self.certificate)},
                }
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": "default"}}],
            "current-context": "test",
        }
        path = self.folder / f"kubeconfig-{user.replace('/', '-')}.json"
        fresh = path.with_suffix(f".{threading.get_ident()}")
        fresh.write_text(json.dumps(content))
        fresh.replace(path)  # at once: another thread's kubectl may just be reading it
        return path

    def apiserver_flags(self) -> list[str]:
        """Flags of kube-apiserver. The defaults of admission hold: ServiceAccount, ResourceQuota, Priority are on."""
        key = self.folder / "service-account.key"
        return [
            f"--etcd-servers=http://127.0.0.1:{self.ports.etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports.apiserver}",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self.certificate.parent}",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--anonymous-auth=false",
            f"--service-account-issuer=https://127.0.0.1:{self.ports.apiserver}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--allow-privileged=true",
            f"--audit-policy-file={self.folder / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=1000",  # MB: audit_events reads this one file
            "--profiling=false",
        ]

    def controller_manager_flags(self) -> list[str]:
        """Flags of kube-controller-manager; with its default of 20 requests a second 100 Jobs take a minute."""
        return [
            f"--kubeconfig={self.kubeconfig('controller-manager', TOKENS['controller-manager'])}",
            "--bind-address=127.0.0.1",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials=false",
            f"--controllers={','.join(_CONTROLLERS)}",
            f"--root-ca-file={self.certificate}",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--concurrent-job-syncs=20",
        ]

    def scheduler_flags(self) -> list[str]:
        """Flags of kube-scheduler."""
        return [f"--config={self.folder / 'scheduler.json'}", "--secure-port=0"]

    def _write_service_account_key(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        content = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self.folder / "service-account.key").write_bytes(content)
