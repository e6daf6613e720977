"""docs/install.md says what the chart does."""

import re
import tomllib
from itertools import pairwise

import pytest
import yaml
from chart.dockerfile import entrypoint, instructions
from chart.rendering import CHART, ROOT, helm, manifests, objects, refusal, the
from chart.test_network import allows
from chart.test_values import SCHEMA
from documents import lines, shown

MANUAL = (ROOT / "docs" / "install.md").read_text()


def known(path):
    """Whether the schema has this dotted path."""
    place = SCHEMA
    for name in path.split("."):
        place = place.get("properties", {}).get(name)
        if place is None:
            return False
    return True


@pytest.mark.parametrize(
    "path", sorted({name for name in re.findall(r"`([a-zA-Z.]+)", MANUAL) if name.split(".")[0] in SCHEMA["properties"]})
)
def test_every_value_that_it_names_is_one(path):
    assert known(path)


def test_its_commands_render():
    (words,) = (words for words in lines(shown("docs/install.md", "Four commands").text) if words[:2] == ["helm", "install"])

    ended = helm("template", "ser-operator", str(CHART), *(word for word in words[4:] if word != "--wait"))

    assert ended.returncode == 0, ended.stderr
    assert 'image: "REGISTRY/ser-operator:0.2.0"' in ended.stdout
    assert 'value: "REGISTRY/ser-jobs:0.2.0"' in ended.stdout


def test_it_builds_and_pushes_the_images_that_the_chart_takes():
    """No container engine is here: `test_images.py` carries out the RUN steps of these files."""
    built, pushed = [], []
    for words in lines(shown("docs/install.md", "Images").text):
        if words[:3] == ["docker", "build", "-f"]:
            assert entrypoint(ROOT / words[3])
            built.append(words[5])
        else:
            assert words[:2] == ["docker", "push"]
            pushed.append(words[2])

    assert built == pushed == ["REGISTRY/ser-operator:0.2.0", "REGISTRY/ser-jobs:0.2.0"]


def test_the_image_with_vllm_is_built_by_arguments_that_the_file_takes():
    (words,) = lines(shown("docs/install.md", "Images", "bash", 1).text)
    given = dict(word.split("=", 1) for option, word in pairwise(words) if option == "--build-arg")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    taken = {text.partition("=")[0] for word, text in instructions(ROOT / words[3]) if word == "ARG"}
    assert set(given) <= taken
    assert set(given["EXTRAS"].split(",")) <= set(extras)


def test_its_store_in_the_cluster_renders():
    values = yaml.safe_load(shown("docs/install.md", "Network", "yaml").text)

    assert "kubernetes.io/metadata.name: storage" in manifests(values)


def test_its_values_for_openshift_name_no_user():
    text = manifests(yaml.safe_load(shown("docs/install.md", "OpenShift", "yaml").text))

    assert "65532" not in text
    assert "runAsNonRoot: true" in text


def test_its_values_for_openshift_let_every_pod_resolve_names():
    found = objects(yaml.safe_load(shown("docs/install.md", "OpenShift", "yaml").text))

    for name in ("ser-stage", "ser-operator"):
        pod = ("ser-system", {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "ser-operator"})
        assert allows(found, "Egress", pod, ("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"}), 5353, "UDP")


def test_its_values_for_kube_prometheus_stack_label_what_it_looks_for_and_let_it_in():
    found = objects(yaml.safe_load(shown("docs/install.md", "Prometheus and Grafana", "yaml").text))

    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        assert the(found, kind)["metadata"]["labels"]["release"] == "prometheus"
    reader = ("observability", {"app.kubernetes.io/name": "prometheus"})
    operator = the(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert allows(found, "Ingress", ("ser-system", operator), reader, 8080)


def test_the_alert_that_it_changes_can_be_changed_so():
    (said,) = re.findall(r"for example `(\{SEROperatorSlow: .*?\})`", MANUAL)

    assert "severity: page" in manifests({"monitoring": {"prometheusRule": {"enabled": True, "alerts": yaml.safe_load(said)}}})


def test_the_refusal_that_it_shows_is_helms():
    said = shown("docs/install.md", "Values", "").text.strip()

    assert said in refusal({"image": {"digest": "sha256:0123"}})
