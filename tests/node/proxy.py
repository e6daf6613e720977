"""kube-proxy: addresses of Services lead to pods."""

import json

from controlplane.plane.build import command
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog
from node import addresses
from node.configuration import PROXY, NodeConfiguration, node_token


def kube_proxy(node: str, configuration: NodeConfiguration, watchdog: Watchdog) -> Part:
    """The proxy of the nodes, which share one network; not started."""
    file = configuration.folder / "proxy.json"
    connections = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}  # not to be set in a sandbox
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": addresses.PODS,
        "hostnameOverride": node,
        "clientConnection": {"kubeconfig": str(configuration.kubeconfig(PROXY, node_token(PROXY)))},
        "conntrack": connections,
        "bindAddress": "0.0.0.0",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    file.write_text(json.dumps(settings))
    return Part("proxy", [*command("proxy"), f"--config={file}"], configuration.folder, watchdog)
