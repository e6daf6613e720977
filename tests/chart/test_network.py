"""Who may talk to whom, read from the NetworkPolicies as a network plugin reads them."""

import ipaddress

import pytest
from chart.rendering import MATRIX, objects, of_kind

from ser_operator.objects.container import PROGRESS_PORT

API_SERVERS, PUBLIC = ("10.96.0.1", "192.168.49.2", "172.20.0.1"), "52.219.0.1"
OPERATOR = {"app.kubernetes.io/name": "ser-operator", "app.kubernetes.io/instance": "ser-operator"}
PROMETHEUS = ("monitoring", {"app.kubernetes.io/name": "prometheus"})


def stage(name):
    return {"app.kubernetes.io/name": "ser-stage", "ser.dev/stage": name, "ser.dev/run-uid": "5f2c"}


def selects(selector, labels):
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(peer, own_namespace, other):
    """Whether ``other``, an address or a pair of namespace and labels, is meant."""
    if isinstance(other, str) or "ipBlock" in peer:
        block = peer.get("ipBlock")
        inside = lambda network: ipaddress.ip_address(other) in ipaddress.ip_network(network)  # noqa: E731
        return (
            isinstance(other, str)
            and block is not None
            and inside(block["cidr"])
            and not any(inside(out) for out in block.get("except", ()))
        )
    namespace, labels = other
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace}):
            return False
    elif namespace != own_namespace:
        return False
    return selects(peer.get("podSelector", {}), labels)


def allows(found, direction, pod, other, port, protocol="TCP"):
    """Whether a pod may receive from, or send to, ``other``."""
    namespace, labels = pod
    policies = [
        one
        for one in of_kind(found, "NetworkPolicy")
        if one["metadata"]["namespace"] == namespace
        and selects(one["spec"]["podSelector"], labels)
        and direction in one["spec"]["policyTypes"]
    ]
    side = {"Ingress": "from", "Egress": "to"}[direction]
    return not policies or any(
        (side not in rule or any(is_peer(peer, namespace, other) for peer in rule[side]))
        and any(one["protocol"] == protocol and one["port"] <= port <= one.get("endPort", one["port"]) for one in rule["ports"])
        for policy in policies
        for rule in policy["spec"].get(direction.lower(), ())
    )


@pytest.fixture(scope="module")
def lab():
    """Runs in team-a, the operator in ser-system."""
    return objects({"watchNamespaces": ["team-a"]})


@pytest.fixture(scope="module")
def narrow():
    """With the store in the cluster."""
    return objects(MATRIX["everything"])


@pytest.mark.parametrize("name", ["prepare", "label", "filter", "retrain", "ppo"])
@pytest.mark.parametrize("port", [443, 6443])
@pytest.mark.parametrize("address", API_SERVERS)
def test_no_stage_reaches_the_api_server(lab, narrow, name, port, address):
    assert not allows(lab, "Egress", ("team-a", stage(name)), address, port)
    assert not allows(narrow, "Egress", ("team-a", stage(name)), address, port)


def test_every_stage_reaches_names_and_the_store(lab, narrow):
    for name in ("prepare", "label", "filter", "retrain"):
        pod = ("team-a", stage(name))
        for protocol in ("UDP", "TCP"):
            assert allows(lab, "Egress", pod, ("kube-system", {"k8s-app": "kube-dns"}), 53, protocol)
        assert allows(lab, "Egress", pod, PUBLIC, 443)
        assert not allows(lab, "Egress", pod, PUBLIC, 80)


def test_with_the_store_named_prepare_alone_reaches_the_hub(narrow):
    store = {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [9000]}
    found = objects({"watchNamespaces": ["team-a"], "networkPolicy": {"store": store}})

    reach = {
        name for name in ("prepare", "label", "filter", "retrain", "ppo") if allows(found, "Egress", ("team-a", stage(name)), PUBLIC, 443)
    }

    assert reach == {"prepare"}
    assert all(allows(found, "Egress", ("team-a", stage(name)), "10.1.2.3", 9000) for name in ("prepare", "retrain"))


def test_progress_and_metrics_are_read_by_the_operator_and_prometheus_alone(lab):
    pod = ("team-a", stage("retrain"))

    assert allows(lab, "Ingress", pod, ("ser-system", OPERATOR), PROGRESS_PORT)
    assert allows(lab, "Ingress", pod, PROMETHEUS, PROGRESS_PORT)
    assert allows(lab, "Egress", ("ser-system", OPERATOR), pod, PROGRESS_PORT)
    for stranger in (
        ("team-a", stage("retrain")),
        ("team-a", {"app": "web"}),
        ("team-b", OPERATOR),
        ("monitoring", {}),
        PUBLIC,
        "10.0.0.7",
    ):
        assert not allows(lab, "Ingress", pod, stranger, PROGRESS_PORT)


def test_the_pods_of_a_stage_reach_one_another_and_nobody_else_reaches_them(lab):
    pod = ("team-a", stage("retrain"))
    for port in (29500, 43210):
        assert allows(lab, "Ingress", pod, pod, port) and allows(lab, "Egress", pod, pod, port)
        for stranger in (("team-b", stage("retrain")), ("ser-system", OPERATOR), PROMETHEUS, PUBLIC):
            assert not allows(lab, "Ingress", pod, stranger, port)


def test_the_operator_reaches_the_api_server_and_no_store(lab, narrow):
    operator = ("ser-system", OPERATOR)

    assert allows(lab, "Egress", operator, API_SERVERS[0], 443)
    assert not allows(lab, "Egress", operator, PUBLIC, 9000)
    assert allows(lab, "Ingress", operator, PROMETHEUS, 8080)
    assert not allows(lab, "Ingress", operator, ("team-a", stage("retrain")), 8080)
    assert allows(narrow, "Egress", operator, "10.0.0.1", 443)
    assert not allows(narrow, "Egress", operator, API_SERVERS[0], 443)


def test_a_cluster_wide_operator_reads_progress_everywhere():
    found = objects({"clusterWide": True})

    assert allows(found, "Egress", ("ser-system", OPERATOR), ("any", stage("retrain")), PROGRESS_PORT)


def test_policies_can_be_left_to_somebody_else():
    assert of_kind(objects({"networkPolicy": {"enabled": False}}), "NetworkPolicy") == []
