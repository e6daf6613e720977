"""Several processes of one stage: which one each is, and what they share."""

from dataclasses import replace

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_jobs.ranks import Ranks, from_environment


def test_a_process_is_alone_unless_torchruns_variables_say_otherwise():
    assert from_environment({}) == Ranks(0, 0, 1)
    assert from_environment({"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}) == Ranks(5, 1, 8)


def test_the_processes_of_a_pod_download_an_input_once(workshop, monkeypatch):
    downloads = []
    download = workshop.store.download
    monkeypatch.setattr(workshop.store, "download", lambda key, path, *_: (downloads.append(key), download(key, path)))
    first, second = (
        replace(workshop.context(StageKind.RETRAIN), rank=rank, world_size=2, shared_inputs=workshop.folder / "shared") for rank in (0, 1)
    )

    fetched = [context.fetch(InputRole.PREPARED, "seed.parquet") for context in (first, second)]

    assert fetched[0] == fetched[1]
    assert len(downloads) == 1
