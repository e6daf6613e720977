"""What attempts that lost have left of a committed stage goes; what the stage has made, and the logs, stay."""

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from ser_core.api.stage import LabelMetrics
from ser_core.api.status import StageKind
from ser_core.errors import StoreAccessDenied
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.leftovers import Leftovers, remove_leftovers
from ser_core.store.stages.commit import commit, upload_outputs
from ser_core.store.stages.manifest import Manifest, stage_prefix


@pytest.fixture
def committed(store, identity, tmp_path):
    (tmp_path / "labels").write_bytes(b"scores")
    outputs = upload_outputs(store, identity, 1, StageKind.LABEL, 2, {"deep/labels": tmp_path / "labels"})
    common = {"run": identity, "stage": StageKind.LABEL, "iteration": 1, "attempt": 2, "writer": "w", "inputs": {}, "outputs": outputs}
    more = {"metrics": LabelMetrics(labeled=1, truncated=0), "code_version": "1", "seed": 0, "threads": 1}
    return commit(store, Manifest(**common, **more, started_at="", finished_at="")).manifest


def test_parts_and_checkpoints_of_attempts_that_lost_go(store, identity, committed):
    folder = stage_prefix(identity, 1, StageKind.LABEL)
    kept = {entry.key for entry in store.list(f"{folder}/")}
    logs = {
        f"{folder}/attempt-1-dead/log.jsonl",
        f"{folder}/attempt-1-dead/log-rank-0001.jsonl",
        f"{folder}/attempt-1-dead/stacks-rank-0001.txt",
    }
    other_stage = f"{stage_prefix(identity, 11, StageKind.LABEL)}/attempt-1-dead/labels"
    for key in (*logs, other_stage, f"{folder}/attempt-1-dead/deep/labels", f"{folder}/checkpoints/00000001-a/model"):
        store.put(key, b"12345")
    assert remove_leftovers(store, committed) == Leftovers(objects=2, bytes=10)
    assert {entry.key for entry in store.list("")} == kept | logs | {other_stage}
    assert remove_leftovers(store, committed) == Leftovers()


def test_who_may_not_abort_uploads_still_removes_the_rest(store, identity, committed, monkeypatch):
    def refuse(_):
        raise StoreAccessDenied("s3:ListBucketMultipartUploads")

    left = f"{stage_prefix(identity, 1, StageKind.LABEL)}/checkpoints/00000001-a/model"
    store.put(left, b"12345")
    monkeypatch.setattr(store, "abandon", refuse)
    with pytest.raises(StoreAccessDenied):
        remove_leftovers(store, committed)
    assert left not in {entry.key for entry in store.list("")}


def test_uploads_that_were_cut_off_go(s3_store, s3_endpoint, bucket):
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    for key in ("hh/a/model", "hh/b/model"):
        client.create_multipart_upload(Bucket=bucket, Key=f"some/prefix/{key}")
    assert s3_store.abandon("hh/a/") == 1
    left = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    assert [one["Key"] for one in left] == ["some/prefix/hh/b/model"]


def test_a_server_that_cannot_list_uploads_is_left_alone(s3_store, s3_endpoint):
    answer = AWSResponse(s3_endpoint, 501, {}, None)
    answer._content = b"<Error><Code>NotImplemented</Code></Error>"
    s3_store._client.meta.events.register("before-send.s3.ListMultipartUploads", lambda **_: answer)
    assert s3_store.abandon("hh/a/") == 0


def test_temporary_files_of_killed_writers_go(tmp_path):
    store = FileStore(tmp_path)
    store.put("hh/a/model", b"")
    (tmp_path / "hh/a/.part-0123").write_bytes(b"half")
    assert store.abandon("hh/a/") == 1
    assert [path.name for path in (tmp_path / "hh/a").iterdir()] == ["model"]
    assert store.abandon("hh/nothing/") == 0


def test_each_new_folder_is_entered_durably_into_the_one_above(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("ser_core.store.objects.file._sync_folder", synced.append)
    FileStore(tmp_path).put("a/b/c", b"")
    assert {tmp_path, tmp_path / "a", tmp_path / "a/b"} <= set(synced)
