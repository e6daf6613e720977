"""One dialogue of 15 MB costs little: in processor time, which other processes do not change, and in memory."""

import json
import subprocess
import sys

import pytest

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

    ended = subprocess.run([sys.executable, "-c", PREPARE, tmp_path], capture_output=True, text=True, check=True)
    count, dropped, seconds, megabytes = map(float, ended.stdout.split())
    assert (count, dropped) == (41, 0)
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
