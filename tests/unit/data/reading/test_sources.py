import json

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ser_core.api.spec.data import DataSpec, FileSpec, SourceSpec
from ser_core.api.spec.places import PlaceSpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.preparing.preparation import inspect
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import check_base_model
from ser_core.data.reading.sources import choose_train_files, open_source
from ser_core.errors import DataError, SpecError


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a/train.jsonl.gz", "a/test.jsonl.gz", "other/attempts.jsonl.gz"], ["a/train.jsonl.gz"]),
        (["data/train-00000-of-00002.parquet", "data/validation-00000.parquet"], ["data/train-00000-of-00002.parquet"]),
        (["part-1.jsonl", "part-2.csv", "README.md", "latest.json"], ["latest.json", "part-1.jsonl", "part-2.csv"]),
        (["one.jsonl", "test.jsonl"], ["one.jsonl"]),
        (["test.jsonl", "dev.jsonl"], []),
        (["trainset.jsonl", "testset.jsonl"], ["trainset.jsonl"]),
        (["TrainData/a.jsonl", "EvalSplit/a.jsonl", "dataset/b.jsonl"], ["TrainData/a.jsonl"]),
        (["pairs.jsonl", "valset.jsonl", "dataset.jsonl"], ["dataset.jsonl", "pairs.jsonl"]),
        (["training_data/train.jsonl", "training_data/test.jsonl"], ["training_data/train.jsonl"]),
        (["tests/train-set/a.jsonl", "tests/b.jsonl"], ["tests/train-set/a.jsonl"]),
        (["pairs.jsonl", "held_out.jsonl", "hold-out/a.jsonl", "evals.jsonl"], ["pairs.jsonl"]),
    ],
)
def test_the_train_split_is_chosen_by_words_in_the_names(names, chosen):
    assert choose_train_files(tuple(names))[0] == tuple(chosen)


def test_a_folder_of_shards_is_read_and_subfolders_name_the_source(write, access, tmp_path, good):
    write(good(3), "helpful/train.jsonl")
    write(good(3), "harmless/train.jsonl")
    write(good(3), "harmless/test.jsonl")
    source = open_source(f"file://{tmp_path}/in", access, tmp_path / "downloads", lambda: None)
    assert list(source.names().values()) == ["harmless", "helpful"]
    assert source.left_out == ("harmless/test.jsonl",)


def test_an_empty_folder_is_refused_by_the_field_that_names_it(access, tmp_path):
    (tmp_path / "in").mkdir()
    data = DataSpec(source=SourceSpec(uri=f"file://{tmp_path}/in"))
    with pytest.raises(DataError, match=r"^data\.source\.uri: file://.*/in holds no data files$"):
        inspect(data, 0, access, turns=False)


def test_a_folder_with_other_splits_only_is_refused(write, access, tmp_path, good):
    write(good(3), "test.jsonl")
    with pytest.raises(DataError, match=r"only other splits than train: test\.jsonl"):
        open_source(f"file://{tmp_path}/in", access, tmp_path / "downloads", lambda: None)


@pytest.mark.parametrize("place", [{"path": "other.jsonl"}, {"subset": "nope"}, {"split": "test"}])
def test_a_place_inside_of_a_single_file_is_refused_where_the_file_is_another(write, access, tmp_path, good, place):
    write(good(3), "plain.jsonl")
    ((field, value),), uri = place.items(), f"file://{tmp_path}/in/plain.jsonl"
    with pytest.raises(DataError, match=f"has no file of the {field} '{value}', but plain.jsonl") as caught:
        open_source(uri, access, tmp_path / "downloads", lambda: None, PlaceSpec(uri=uri, **place))
    assert f"data.*.{field}, or leave it out" in (caught.value.hint or "")


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.create_bucket(Bucket="data-of-others")
    return client


def test_an_s3_object_and_a_prefix_are_read(s3, bucket, good):
    access = Access(StorageSpec(uri="s3://runs/prefix", endpoint=s3), HubSpec())
    shards = [good(80)[:40], good(80)[40:]]
    for number, rows in enumerate(shards):
        bucket.put_object(Bucket="data-of-others", Key=f"hh/part-{number}.jsonl", Body="".join(json.dumps(row) + "\n" for row in rows))
    bucket.put_object(Bucket="data-of-others", Key="hh/")
    bucket.put_object(Bucket="data-of-others", Key="hh-other/part-9.jsonl", Body=b"never read")

    def rows(uri):
        return inspect(DataSpec(source=SourceSpec(uri=uri)), 0, access, turns=False).metrics.rows

    assert rows("s3://data-of-others/hh/part-1.jsonl") == 40
    assert rows("s3://data-of-others/hh") == 80


def test_a_missing_s3_object_and_a_folder_marker_are_refused(s3, bucket):
    access = Access(StorageSpec(uri="s3://runs/prefix", endpoint=s3), HubSpec())
    bucket.put_object(Bucket="data-of-others", Key="empty/")
    for key in ("nothing.jsonl", "empty"):
        with pytest.raises(DataError) as caught:
            inspect(DataSpec(source=SourceSpec(uri=f"s3://data-of-others/{key}")), 0, access, turns=False)
        assert (caught.value.reason, key in caught.value.message) == ("DataNotFound", True)


CARD = b"""\
---
configs:
- config_name: english
  default: true
  data_files: [{split: train_prefs, path: "en/*ain.jsonl"}, {split: test_prefs, path: en/test.jsonl}]
- {config_name: french, data_dir: fr}
---
"""


@pytest.mark.parametrize(
    ("card", "place", "files"),
    [
        (CARD, {}, ["en/train.jsonl"]),
        (CARD, {"split": "test_prefs"}, ["en/test.jsonl"]),
        (CARD, {"subset": "french"}, ["fr/train.jsonl"]),
        (CARD, {"path": "fr"}, ["fr/train.jsonl"]),
        (b"", {}, ["en/train.jsonl", "fr/train.jsonl"]),
    ],
)
def test_the_card_in_a_prefix_names_its_files_as_in_a_folder(s3, bucket, tmp_path, card, place, files):
    access = Access(StorageSpec(uri="s3://runs/prefix", endpoint=s3), HubSpec())
    bucket.put_object(Bucket="data-of-others", Key="set/README.md", Body=card)
    for name in ("en/train", "en/test", "fr/train", "fr/test"):
        bucket.put_object(Bucket="data-of-others", Key=f"set/{name}.jsonl", Body=b'{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    spec = FileSpec(uri="s3://data-of-others/set", **place)
    assert [file.name for file in open_source(spec.uri, access, tmp_path / "downloads", lambda: None, spec).files] == files


def test_what_the_card_in_a_prefix_does_not_name_is_refused_with_what_it_names(s3, bucket, tmp_path):
    access = Access(StorageSpec(uri="s3://runs/prefix", endpoint=s3), HubSpec())
    bucket.put_object(Bucket="data-of-others", Key="other/README.md", Body=CARD)
    bucket.put_object(Bucket="data-of-others", Key="other/en/train.jsonl", Body=b"{}")
    spec = FileSpec(uri="s3://data-of-others/other", split="train")
    with pytest.raises(DataError, match="no split 'train'; its card names train_prefs, test_prefs"):
        open_source(spec.uri, access, tmp_path / "downloads", lambda: None, spec)


@pytest.mark.parametrize(("name", "told"), [("config.json", "is no JSON"), ("model.safetensors", "it is empty")])
def test_a_model_with_an_empty_file_in_a_prefix_is_refused_by_name(s3, bucket, tmp_path, name, told):
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        content = b"" if file == name else b'{"model_type": "bert"}'
        bucket.put_object(Bucket="data-of-others", Key=f"models/empty/{file}", Body=content)
    access = Access(StorageSpec(uri="s3://runs/prefix", endpoint=s3), HubSpec())
    with pytest.raises(SpecError, match=f"{name} of s3://data-of-others/models/empty .*{told}"):
        check_base_model(RewardModelSpec(base="s3://data-of-others/models/empty"), access, tmp_path / "model").tensors()


def test_a_model_is_read_from_a_prefix(s3, bucket, tmp_path):
    files = {"config.json": b'{"model_type": "bert"}', "tokenizer.json": b"{}", "model.safetensors": b"weights"}
    for name, content in files.items():
        bucket.put_object(Bucket="data-of-others", Key=f"models/bert/{name}", Body=content)
    access = Access(StorageSpec(uri="s3://runs/prefix", endpoint=s3), HubSpec())
    model = check_base_model(RewardModelSpec(base="s3://data-of-others/models/bert"), access, tmp_path / "model")
    assert {name: path.read_bytes() for name, path in model.fetch(tmp_path / "model", lambda: None).items()} == files
