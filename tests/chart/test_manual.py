"""docs/install.md says what the chart does."""

import re
import shlex
import textwrap

import pytest
import yaml
from chart.rendering import CHART, ROOT, helm, manifests, refusal
from chart.test_values import SCHEMA

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
    command = next(line for line in MANUAL.replace("\\\n", "").splitlines() if line.startswith("helm install"))
    words = [word for word in shlex.split(command) if word != "--wait"]
    words[1:4] = ["template", "ser-operator", str(CHART)]

    ended = helm(*words[1:])

    assert ended.returncode == 0, ended.stderr
    assert "image: REGISTRY/ser-operator:0.1.0" in ended.stdout
    assert 'value: "REGISTRY/ser-jobs:0.1.0"' in ended.stdout


def test_its_store_in_the_cluster_renders():
    (block,) = re.findall(r"```yaml\n(.*?)```", MANUAL, flags=re.DOTALL)
    values = yaml.safe_load(textwrap.dedent(block))

    assert "kubernetes.io/metadata.name: storage" in manifests(values)


def test_the_refusal_that_it_shows_is_helms():
    (shown,) = re.findall(r"```\n(- at .*)\n```", MANUAL)

    assert shown in refusal({"image": {"digest": "sha256:0123"}})
