"""Large rows cost little: in processor time, which other processes do not change, and in memory."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from ser_core.data.preparing.sides import write_sides
from ser_core.data.tables import PoolPair, read_table

SECONDS, MEGABYTES = 5, 300
PREPARE = """
import resource, sys, time
from pathlib import Path
from ser_core.api.spec.data import DataSpec, SourceSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.preparing.preparation import inspect
from ser_core.data.reading.locations import Access

folder = Path(sys.argv[1])
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
data = DataSpec(source=SourceSpec(uri=f"file://{folder}/pairs.jsonl", seed_fraction=0.3, heldout_fraction=0.2))
metrics = inspect(data, 0, Access(StorageSpec(uri=f"file://{folder}/store"), HubSpec()), turns=True).metrics
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(metrics.rows, sum(metrics.dropped.values()), time.process_time() - started, used / 1024)
"""


def transcript(before, question, answer):
    return f"{before}\n\nHuman: {question}\n\nAssistant: {answer}"


def messages(before, question, answer):
    return [*before, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def as_text(before, question, answer):
    return json.dumps(messages(before, question, answer), ensure_ascii=False)


SAID = [{"role": ("user", "assistant")[turn % 2], "content": "word é " * 20} for turn in range(40_000)]
BEFORE = "".join(f"\n\nHuman: say {turn}\n\nAssistant: said {turn}" for turn in range(180_000))


@pytest.mark.parametrize(
    ("write", "before", "nothing"), [(transcript, BEFORE, ""), (messages, SAID, []), (as_text, SAID, [])], ids=["HH", "messages", "text"]
)
def test_a_dialogue_of_15_mb_costs_little(tmp_path, write, before, nothing):
    said = [(nothing, f"q {number}") for number in range(40)] + [(before, "x")]
    rows = [{"chosen": write(*asked, "right"), "rejected": write(*asked, "wrong")} for asked in said]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert 14_000_000 < len(text.encode()) < 16_777_216
    (tmp_path / "pairs.jsonl").write_text(text)

    count, dropped, seconds, megabytes = prepared_in(tmp_path)
    assert (count, dropped) == (41, 0)
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def test_many_rows_of_4_mb_are_never_all_in_memory(tmp_path):
    with (tmp_path / "pairs.jsonl").open("w") as file:
        for number in range(30):
            file.write(json.dumps({"prompt": f"q {number} " + "word " * 800_000, "chosen": "right", "rejected": "wrong"}) + "\n")
    count, dropped, _, megabytes = prepared_in(tmp_path)
    assert (count, dropped) == (30, 0)
    assert megabytes < MEGABYTES


def test_tables_of_large_rows_are_written_and_read_in_small_pieces(prepare, good, tmp_path, monkeypatch):
    for module in ("ser_core.data.taking", "ser_core.data.preparing.pairs.spool"):
        monkeypatch.setattr(f"{module}.MOST_CHARACTERS", 100)
    prepared = prepare(good(60))
    table = write_sides(prepared, 0, tmp_path)["pool.parquet"]
    assert 10 < pq.read_metadata(table).num_row_groups < prepared.metrics.pool
    pairs = read_table(table, PoolPair)
    assert [pair.id for pair in pairs] == sorted(pair.id for pair in pairs)
    assert {pair.prompt for pair in pairs} < {row["prompt"] for row in good(60)}


def prepared_in(folder):
    """Rows, those that were dropped, seconds and megabytes of reading ``pairs.jsonl`` in a process of its own."""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # the code that this test imports
    ended = subprocess.run([sys.executable, "-c", PREPARE, folder], env=paths, capture_output=True, text=True, check=True)
    return map(float, ended.stdout.split())
