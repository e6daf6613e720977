"""Rows 1 to 24 of the bad-input catalogue, as far as a spec alone shows them; 5 and 6 come with the policy, 16 and 17 with pods."""

import json

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.api.values.amounts import duration_seconds
from ser_core.cli.access.serrun_file import read_serrun
from ser_core.errors import SpecError
from ser_core.store.objects.connect import connect

GOOD = {
    "apiVersion": "ser.dev/v1alpha1",
    "kind": "SERRun",
    "metadata": {"name": "hh"},
    "spec": {
        "rewardModel": {"base": "hf://Qwen/Qwen3-0.6B"},
        "data": {"source": {"uri": "s3://bucket/pairs"}},
        "storage": {"uri": "s3://bucket/runs"},
    },
}


@pytest.fixture
def read(tmp_path):
    def changed(path, value):
        document = json.loads(json.dumps(GOOD))
        *parents, last = path.split(".")
        inner = document
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = value
        file = tmp_path / "serrun.yaml"
        file.write_text(json.dumps(document))
        return read_serrun(file)

    return changed


@pytest.mark.parametrize(
    ("row", "path", "value", "said"),
    [
        (1, "spec.loop.itertions", 3, "is no field; did you mean maxIterations?"),
        (1, "spec.rewardmodel", {}, "is no field; did you mean rewardModel?"),
        (1, "spec.loop", [1], "[1]: expected fields, each as name: value"),
        (1, "spec.loop.controls", "full", "'full': expected a list, such as [a, b]"),
        (1, "spec.rewardModel.revision", 7, "7: expected text: write a number, or a word such as yes, in quotes"),
        (2, "spec.loop.maxIterations", 0, "0: input should be greater than or equal to 1"),
        (2, "spec.loop.maxIterations", -1, "-1: input should be"),
        (2, "spec.loop.maxIterations", 10**9, "1000000000: input should be less than or equal to 32"),
        (2, "spec.loop.maxIterations", "3", "'3': input should be a valid integer"),
        (2, "spec.loop.maxIterations", True, "True: input should be a valid integer"),
        (2, "spec.loop.maxIterations", int("9" * 4000), "input should be"),
        (3, "spec.training.learningRate", 0, "0: input should be greater than 0"),
        (3, "spec.training.learningRate", -1e-4, "-0.0001: input should be greater than 0"),
        (3, "spec.training.learningRate", 1.5, "1.5: input should be less than or equal to 1"),
        (4, "spec.data.source.columns", {"chosen": "a"}, "spec.data.source.columns: chosen and rejected go together: name both"),
        (4, "spec.data.source.columns", {"response_2": "a"}, "response_1 and response_2 go together: name both"),
        (4, "spec.data.source.columns", {"score_1": "a", "better": "b"}, "score_1 and score_2 go together: name both"),
        (
            4,
            "spec.data",
            {"source": {"uri": "hf://a/b"}, "splitBy": "topic"},
            "splitBy is for seed, unlabeled and heldout: with source, write it into source",
        ),
        (4, "spec.loop.thresholds", {"low": 0.6, "high": 0.5}, "low 0.6 must be below high 0.5"),
        (7, "spec.resources.retrain.gpus", 0.5, "0.5: input should be a valid integer"),
        *(
            (7, "spec.resources.retrain.cpu", value, "is no number of CPUs from 1m to 4096: write one such as 2, '0.5' or 500m")
            for value in (0.5, 2.0, -1, True, "1Ki", "1k", "0", "0.0001", "4097", "0m", "1.5m")
        ),
        *(
            (7, "spec.resources.retrain.memory", value, "is no amount of memory from 16Mi to 64Ti")
            for value in (0, 1024, "1m", "16Mim", "15Mi", "0.1Ki", "65Ti", "1e9", "0Gi")
        ),
        (6, "spec.policy", {"base": "hf://a/b", "advantage": "rloo"}, "answersPerPrompt 1 leaves advantage rloo no answer to compare with"),
        (6, "spec.policy", {"base": "hf://a/b", "answersPerPrompt": 3}, "rolloutsPerStep 128 is no multiple of answersPerPrompt 3"),
        (7, "spec.resources.retrain.gpus", 17, "17: input should be less than or equal to 16"),
        (9, "spec.activeDeadline", "1d", "'1d' is no duration up to ten years: write hours, minutes and seconds such as 36h"),
        (9, "spec.activeDeadline", "87600h1s", "'87600h1s' is no duration up to ten years"),
        (9, "spec.ttlAfterFinished", "9" * 19 + "s", "is no duration up to ten years"),
        (9, "spec.activeDeadline", "-5m", "'-5m' is no duration"),
        (9, "spec.activeDeadline", "∞", "'∞' is no duration"),
        (9, "spec.activeDeadline", "0s", "'0s' is no duration"),
        (9, "spec.activeDeadline", 90, "90 is no duration"),
        (9, "spec.activeDeadline", "36h\n", "is no duration"),
        (10, "metadata.name", "a" * 254, "is 254 characters long: at most 253"),
        (11, "metadata.name", "e😀", "'e😀'"),
        (11, "spec.resources.label.nodeSelector", {"pool": "e😀"}, "'e😀' is no label value"),
        (11, "spec.resources.label.nodeSelector", {"e😀": "a"}, "'e😀' is no label key"),
        (11, "spec.queueName", "a" * 64, "64 characters long: at most 63"),
        (12, "spec.storage.uri", "bucket/prefix", "has no scheme: expected one of s3://, file://"),
        (12, "spec.storage.uri", "http://host/x", "has scheme 'http'"),
        (12, "spec.storage.uri", "https://huggingface.co/a/b", "expected one of s3://, file://"),
        (12, "spec.rewardModel.base", "https://huggingface.co/a/b", "has scheme 'https': write 'hf://a/b'"),
        (12, "spec.rewardModel.base", "https://huggingface.co/gpt2/tree/main", "write 'hf://gpt2'"),
        (12, "spec.rewardModel.base", "https://huggingface.co/a/b/tree/v1", "write 'hf://a/b', with revision: v1"),
        (12, "spec.data.source.uri", "https://hf.co/datasets/a/b/blob/v1/x.json", "write 'hf://a/b@v1'"),
        (12, "spec.storage.uri", "s3://", "bucket '' in 's3://' is no bucket name"),
        (12, "spec.storage.uri", "s3://ab", "3 to 63 lower-case letters"),
        (12, "spec.storage.uri", "s3://Bucket/x", "bucket 'Bucket'"),
        (12, "spec.storage.uri", "s3://bucket\n/x", "is no bucket name"),
        (13, "spec.storage.uri", "s3://bucket/a/../b", "has an empty or '..' part"),
        (13, "spec.storage.uri", "s3://bucket/a//b", "has an empty or '..' part"),
        (13, "spec.storage.uri", "s3://bucket//a", "has an empty or '..' part"),
        (13, "spec.storage.uri", "s3://bucket/a\x01b", "control character"),
        (13, "spec.storage.uri", "s3://bucket/" + "a" * 1025, "1025 bytes long: at most 1024"),
        (14, "spec.storage.uri", "s3://bucket/pairs", "storage.uri 's3://bucket/pairs' lies inside data.source.uri"),
        (14, "spec.storage.uri", "s3://bucket/pairs/runs", "store the run beside its inputs"),
        (18, "spec.podTemplate", {"hostNetwork": True}, "is no field; known here:"),
        (20, "spec.rewardModel.base", "hf://organisation/--model", "is no hub name"),
        (20, "spec.queueName", "--queue", "'--queue' is no name: use lower-case letters"),
        (20, "spec.storage.credentialsSecret", "--secret", "'--secret' is no name"),
        (20, "spec.resources.label.tolerations", [{"value": "a"}], "operator Equal needs a key"),
        (20, "spec.resources.label.tolerations", [{"key": "a", "operator": "Exists", "value": "b"}], "operator Exists takes no value"),
        (20, "spec.resources.label.priorityClassName", "$(HOME)", "'$(HOME)' is no name"),
        (20, "spec.storage.region", "$(HOME)", "'$(HOME)' is no region"),
        (20, "spec.storage.caBundleFrom", {"secret": "a", "configMap": "b"}, "give either secret or configMap"),
        (20, "spec.storage.caBundleFrom", {}, "give either secret or configMap"),
        (20, "spec.storage.caBundleFrom", {"secret": "a", "key": "../x"}, "is no key of a Secret or ConfigMap"),
        (21, "spec.env", [{"name": "LD_PRELOAD", "value": "x"}], "is no field; known here:"),
        (22, "spec.resources.label.nodeSelector", {f"k{number}": "v" for number in range(10_000)}, "at most 32 items"),
        (22, "spec.hub.endpoint", "https://" + "a" * 1000, "1008 characters long: at most 500"),
        (24, "spec.rewardModel.base", "../x", "has no scheme"),
        (24, "spec.rewardModel.base", "hf://../x", "is no hub name"),
        (24, "spec.rewardModel.base", "hf://a/b\n", "is no hub name"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(read, row, path, value, said):
    with pytest.raises(SpecError) as caught:
        read(path, value)
    assert path.removesuffix(".env") in caught.value.message or row == 14
    assert said in caught.value.message
    assert caught.value.exit_code == 10
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("text", [".nan", ".inf", "1e400", "-.inf"])
def test_3_a_learning_rate_that_is_no_finite_number_is_refused(tmp_path, text):
    file = tmp_path / "serrun.yaml"
    file.write_text(json.dumps(GOOD).replace('"spec": {', f'"spec": {{"training": {{"learningRate": {text}}}, '))
    with pytest.raises(SpecError, match=r"learningRate: .*finite number"):
        read_serrun(file)


@pytest.mark.parametrize("text", ["spec: " + "[" * 5000 + "]" * 5000, "seed: " + "9" * 5000, "? [a]\n: b", "when: 2026-99-99"])
def test_22_yaml_that_python_cannot_hold_is_refused(tmp_path, text):
    file = tmp_path / "serrun.yaml"
    file.write_text(text)
    with pytest.raises(SpecError):
        read_serrun(file)


def test_22_a_huge_file_is_refused_unread(tmp_path):
    file = tmp_path / "serrun.yaml"
    file.write_text(json.dumps(GOOD) + " " * 1_400_000)
    with pytest.raises(SpecError, match="at most 1000000"):
        read_serrun(file)


@pytest.mark.parametrize(("text", "seconds"), [("36h", 129600), ("1h30m", 5400), ("90s", 90)])
def test_9_durations_that_are_accepted(text, seconds):
    assert duration_seconds(text) == seconds


def test_9_a_longer_duration_that_stands_in_a_cluster_or_store_counts_as_ten_years():
    assert duration_seconds("99999999999999h") == duration_seconds("87600h")


@pytest.mark.parametrize(
    ("cpu", "memory", "read_as"),
    [(4, 1073741824, ("4", "1073741824")), ("500m", "16Gi", ("500m", "16Gi"))],
)
def test_7_a_quantity_may_be_a_number(read, cpu, memory, read_as):
    found = read("spec.resources.retrain", {"cpu": cpu, "memory": memory}).spec.resources.retrain
    assert (found.cpu, found.memory) == read_as


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu", "1Ki"), ("cpu", "1T"), ("cpu", "0.00001"), ("memory", "1m"), ("memory", "9999T")],
)
def test_7_what_earlier_versions_admitted_is_still_read(field, value):
    spec = {**GOOD["spec"], "resources": {"retrain": {field: value}}}
    assert getattr(SERRunSpec.model_validate(spec).resources.retrain, field) == value


def test_10_a_name_of_253_characters_is_accepted(read):
    assert read("metadata.name", "a" * 253).metadata.name


@pytest.mark.parametrize("part", ["; touch canary", "`touch canary`", "$(touch canary)", "$(AWS_SECRET_ACCESS_KEY)", "%2e%2e", "--force"])
def test_19_and_20_a_path_is_never_interpreted(tmp_path, monkeypatch, part):
    monkeypatch.chdir(tmp_path)
    document = {**GOOD, "spec": {**GOOD["spec"], "storage": {"uri": f"file://{tmp_path}/store/{part}"}}}
    file = tmp_path / "serrun.yaml"
    file.write_text(json.dumps(document))
    connect(read_serrun(file).spec.storage).create("key", b"content")
    assert (tmp_path / "store" / part / "key").read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["serrun.yaml", "store"]
