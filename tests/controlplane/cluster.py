"""What tests import: the cluster's parts under one name."""

from controlplane.kubelet.containers import Outcome, StartedPod
from controlplane.kubelet.gate import Gate
from controlplane.kubelet.kubelet import ProcessKubelet
from controlplane.plane.api_client import ApiClient, ApiError, Object
from controlplane.plane.control_plane import ControlPlane
from controlplane.plane.s3_server import S3Server

__all__ = ["ApiClient", "ApiError", "ControlPlane", "Gate", "Object", "Outcome", "ProcessKubelet", "S3Server", "StartedPod"]
