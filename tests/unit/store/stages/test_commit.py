"""A stage is done when its manifest exists and verifies; nothing else proves it."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ser_core.api.stage import LabelMetrics
from ser_core.api.status import StageKind
from ser_core.errors import CorruptObject, ObjectNotFound, SpecError, StoreError
from ser_core.store.objects.file import FileStore
from ser_core.store.objects.probe import probe
from ser_core.store.runs.purge import purge, stored
from ser_core.store.stages.commit import commit, fetch_outputs, find_manifest, read_manifest, upload_outputs
from ser_core.store.stages.manifest import Manifest, manifest_key


@pytest.fixture
def manifest(store, identity, tmp_path):
    (tmp_path / "labels").write_bytes(b"scores" * 100)

    def make(writer="me", attempt=1):
        return Manifest(
            run=identity,
            stage=StageKind.LABEL,
            iteration=2,
            attempt=attempt,
            writer=writer,
            inputs={},
            outputs=upload_outputs(store, identity, 2, StageKind.LABEL, attempt, {"deep/labels": tmp_path / "labels"}),
            metrics=LabelMetrics(labeled=100, truncated=0),
            code_version="1",
            seed=0,
            threads=1,
            started_at="",
            finished_at="",
        )

    return make


def test_a_file_that_takes_long_keeps_no_other_from_being_a_sign_of_life(identity, tmp_path):
    signs, seen = [], threading.Event()

    class Store(FileStore):
        def upload(self, key, path, *alive):
            assert not key.endswith("first") or seen.wait(10)
            super().upload(key, path, *alive)

    (tmp_path / "file").write_bytes(b"x")
    files = dict.fromkeys(("first", "second"), tmp_path / "file")
    upload_outputs(Store(tmp_path / "store"), identity, 0, StageKind.PREPARE, 1, files, lambda: (signs.append(1), seen.set()))
    assert len(signs) == 2


def test_a_committed_stage_is_found_and_read_back(store, manifest, identity, tmp_path):
    committed = commit(store, manifest())
    assert committed.won
    assert find_manifest(store, identity, 2, StageKind.LABEL) == (committed.manifest, committed.ref)
    assert read_manifest(store, committed.ref) == committed.manifest
    files = fetch_outputs(store, committed.manifest, ["deep/labels"], tmp_path / "in")
    assert files["deep/labels"].read_bytes() == b"scores" * 100


def test_the_second_writer_is_superseded_and_gets_the_first_ones_result(store, manifest):
    first, second = commit(store, manifest("first")), commit(store, manifest("second", 2))
    assert not second.won
    assert (second.manifest, second.ref) == (first.manifest, first.ref)


def test_one_of_many_racing_writers_wins_and_all_agree_on_it(store, manifest):
    manifests = [manifest(f"writer-{number}", number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: commit(store, one), manifests))
    assert sum(answer.won for answer in answers) == 1
    assert len({answer.ref.sha256 for answer in answers}) == 1


def test_a_lost_answer_to_our_own_write_is_a_success(store, manifest, faulty):
    lossy = faulty(store, answers={"create": lambda *_: False})
    assert commit(lossy, manifest()).won


def test_a_stage_without_manifest_is_not_done_whatever_its_folder_holds(store, manifest, identity):
    manifest()
    assert find_manifest(store, identity, 2, StageKind.LABEL) is None


def test_a_manifest_of_another_run_is_refused(store, manifest, identity):
    key = manifest_key(identity, 2, StageKind.LABEL)
    store.put(key, manifest().model_copy(update={"run": identity.model_copy(update={"uid": "other"})}).to_bytes())
    with pytest.raises(CorruptObject, match="label 2 of run other"):
        find_manifest(store, identity, 2, StageKind.LABEL)


def test_half_a_manifest_is_refused(store, manifest, identity):
    store.put(manifest_key(identity, 2, StageKind.LABEL), manifest().to_bytes()[:100])
    with pytest.raises(CorruptObject, match="is no manifest"):
        find_manifest(store, identity, 2, StageKind.LABEL)


def test_an_input_that_changed_since_it_was_recorded_is_refused(store, manifest, identity):
    ref = commit(store, manifest()).ref
    store.put(manifest_key(identity, 2, StageKind.LABEL), manifest("someone").to_bytes())
    with pytest.raises(StoreError) as caught:
        read_manifest(store, ref)
    assert caught.value.reason == "InputChanged"


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"?" + content[1:], lambda content: b""])
def test_a_damaged_object_is_read_again_and_then_refused(store, manifest, tmp_path, damage, faulty):
    committed = commit(store, manifest()).manifest
    key = committed.outputs["deep/labels"].key
    store.put(key, damage(store.get(key)))
    counting = faulty(store)
    with pytest.raises(CorruptObject, match="expected 600 bytes"):
        fetch_outputs(counting, committed, ["deep/labels"], tmp_path / "in")
    assert counting.count == 3
    assert not (tmp_path / "in" / "deep" / "labels").exists()


def test_an_object_that_is_gone_is_told_with_what_to_do(store, manifest, tmp_path):
    committed = commit(store, manifest()).manifest
    store.delete(committed.outputs["deep/labels"].key)
    with pytest.raises(ObjectNotFound) as caught:
        fetch_outputs(store, committed, ["deep/labels"], tmp_path / "in")
    assert "restore it" in caught.value.hint


@pytest.mark.parametrize("times", [1, 2])
def test_a_transfer_that_was_damaged_is_repeated(store, manifest, tmp_path, faulty, times):
    committed = commit(store, manifest()).manifest
    damaged = []

    def damage_first(_key, path, _alive):
        if len(damaged) < times:
            damaged.append(path.write_bytes(b"damaged"))

    fetched = fetch_outputs(faulty(store, answers={"download": damage_first}), committed, ["deep/labels"], tmp_path / "in")
    assert fetched["deep/labels"].read_bytes() == b"scores" * 100


def test_an_output_name_cannot_leave_the_folder(store, manifest, tmp_path):
    one = manifest()
    escaping = one.model_copy(update={"outputs": {"../x": one.outputs["deep/labels"]}})
    with pytest.raises(SpecError, match="leaves the folder"):
        fetch_outputs(store, escaping, ["../x"], tmp_path / "in")


def test_a_digest_that_is_a_path_gives_no_local_file_as_an_output(store, manifest, tmp_path):
    one, secret = manifest(), tmp_path / "secret"
    secret.write_text("key")
    (tmp_path / "contents").mkdir()
    part = one.outputs["deep/labels"].model_copy(update={"sha256": str(secret)})
    with pytest.raises(CorruptObject, match="is no SHA-256"):
        fetch_outputs(store, one.model_copy(update={"outputs": {"x": part}}), ["x"], tmp_path / "in", tmp_path / "contents")


def test_the_probe_passes_and_leaves_nothing(store, identity):
    probe(store, identity)
    assert list(store.list("")) == []


def test_the_probe_finds_a_store_that_lets_everybody_create(store, identity, faulty):
    def overwrite(key, data):
        store.put(key, data)
        return True

    with pytest.raises(SpecError, match="8 of 8 racing writers") as caught:
        probe(faulty(store, answers={"create": overwrite}), identity)
    assert caught.value.reason == "StoreLacksConditionalWrites"


def test_a_winner_whose_answer_is_lost_is_known_by_what_it_wrote(store, identity, faulty):
    """It has asked again and was told that the key exists."""
    probe(faulty(store, answers={"create": lambda *_: False}), identity)
    assert list(store.list("")) == []


def test_two_writers_of_one_key_are_found_though_one_alone_says_so(store, identity, faulty):
    said = itertools.count()

    def overwrite(key, data):
        store.put(key, data)
        return next(said) == 0

    # In turn, so that the last one's text stays.
    with ThreadPoolExecutor(1) as one, pytest.raises(SpecError, match="its text must stay"):
        probe(faulty(store, answers={"create": lambda *arguments: one.submit(overwrite, *arguments).result()}), identity)


def test_a_store_that_is_away_is_waited_for_once(identity):
    asked = []

    class Away:
        def put(self, key, _data):
            asked.append(key)
            raise StoreError("no answer", reason="StoreUnavailable")

    with pytest.raises(StoreError, match="no answer"):
        probe(Away(), identity)
    assert len(asked) == 1


def test_purge_deletes_one_run_and_not_its_namesake(store):
    for key in ("default/hh/run.json", "default/hh/uid/iter-0000/x", "default/hh-small/run.json"):
        store.put(key, b"123")
    assert stored(store, "default", "hh").objects == 2
    assert purge(store, "default", "hh").bytes == 6
    assert [found.key for found in store.list("")] == ["default/hh-small/run.json"]
