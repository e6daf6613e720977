"""Nodes that exist in the API alone, with resources for the scheduler to count."""

from controlplane.plane.api_client import ApiClient

GPU = "nvidia.com/gpu"


def add_node(api: ApiClient, name: str, *, cpu: str, memory: str, gpus: int) -> None:
    """Add a ready node."""
    node = f"/api/v1/nodes/{name}"
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    amounts = {"cpu": cpu, "memory": memory, "pods": "1000", "ephemeral-storage": "1Ti"}
    if gpus:
        amounts[GPU] = str(gpus)
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the process kubelet of the tests"}
    status = {
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": [ready],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
    }
    api.patch(f"{node}/status", {"status": status})
    # admission taints every new node as not ready, and node-lifecycle-controller, which would take that back, does not run
    api.patch(node, {"spec": {"taints": None}})
