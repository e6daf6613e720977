"""A sweep on a cluster, repeated at any moment: what has begun is compared with the file."""

import pytest

from ser_core.cli.access.cluster import Cluster, _NotFound
from ser_core.cli.access.serrun_file import read_templates, resolved_document, specs_of
from ser_core.cli.access.sweeps.documents import documents_of
from ser_core.cli.access.sweeps.runs import ClusterRuns
from ser_core.errors import SpecError
from ser_core.sweep.settings import read_setting
from ser_core.sweep.variants import variants

TEMPLATE = """apiVersion: ser.dev/v1alpha1
kind: SERRunTemplate
metadata: {name: team}
spec:
  storage: {endpoint: "https://s3.example.com", credentialsSecret: ser-s3}
  queueName: team
---
apiVersion: ser.dev/v1alpha1
kind: SERRun
metadata: {name: hh}
spec:
  templateRef: {name: team}
  rewardModel: {base: hf://Qwen/Qwen3-0.6B}
  data: {source: {uri: hf://Anthropic/hh-rlhf}}
  training: {epochs: 1}
  storage: {uri: s3://my-bucket/ser}
"""


class Stored(Cluster):
    """A cluster that keeps SERRuns and no operator works on."""

    def __init__(self):
        super().__init__(None, "lab")
        self.runs = {}

    def _call(self, method, path, body=None, *_, **__):
        if method == "POST":
            self.runs[body["metadata"]["name"]] = {**body, "metadata": {**body["metadata"], "uid": "u"}}
        name = path.rsplit("/", 1)[-1] if method == "GET" else body["metadata"]["name"]
        if name not in self.runs:
            raise _NotFound(f"serruns {name!r} not found")
        return self.runs[name]


@pytest.fixture
def again(tmp_path):
    """Hand out a sweep to a cluster, then look at what the same command with a file would start."""
    cluster, file = Stored(), tmp_path / "hh.yaml"

    def wanted(text):
        file.write_text(text)
        document, templates = resolved_document(file), read_templates(file)
        runs = variants("hh", document["spec"], [read_setting("training.seed=0..1")])
        where = ClusterRuns(cluster, "hh", specs_of(templates))
        return runs, documents_of(runs, document, templates, where), where

    runs, documents, where = wanted(TEMPLATE)
    for number, one in enumerate(runs):
        where.start(number, one.name, file, documents[number])
    return cluster, lambda text: wanted(text)[1], documents


COPY = {"name": "team", "spec": {"storage": {"endpoint": "https://s3.example.com", "credentialsSecret": "ser-s3"}, "queueName": "team"}}


@pytest.mark.parametrize("status", [{}, {"phase": "Waiting"}, {"template": COPY}], ids=["new", "without a template", "copied"])
def test_the_same_command_is_taken_whether_the_template_was_copied_or_not(again, status):
    cluster, repeated, documents = again
    for run in cluster.runs.values():
        run["status"] = status
    assert repeated(TEMPLATE) == documents


def test_another_file_is_refused_before_the_template_is_copied(again):
    _, repeated, _ = again
    with pytest.raises(SpecError, match=r"hh-seed0 has begun: .*training\.epochs") as refused:
        repeated(TEMPLATE.replace("epochs: 1", "epochs: 2"))
    assert refused.value.reason == "ImmutableField"
