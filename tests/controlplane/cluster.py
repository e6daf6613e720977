"""What tests import: the cluster's parts under one name."""

from controlplane.api_client import ApiClient, ApiError, Object
from controlplane.containers import Outcome, StartedPod
from controlplane.control_plane import ControlPlane
from controlplane.gate import Gate
from controlplane.kubelet import ProcessKubelet
from controlplane.s3_server import S3Server

__all__ = ["ApiClient", "ApiError", "ControlPlane", "Gate", "Object", "Outcome", "ProcessKubelet", "S3Server", "StartedPod"]
