"""The data of the ladder, each pair with the group that must not be torn apart."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_core.data.tables import LabeledPair

ROOT = Path(__file__).parents[2]
GROUP = "group"
MOST_PAIRS = 1_000
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Preference pairs with labels."""

    name: str
    source: str
    """A file of ``--data``, or the number of pairs from Python's documentation."""
    prefix: str
    """What the column ``source`` of a pair begins with."""
    max_length: int
    """Tokens of prompt and answer."""
    group: Callable[[Row], str]
    """By what it is split."""

    @property
    def documentation(self) -> bool:
        """Whether it needs no file."""
        return self.source.isdecimal()


def debate(row: Row) -> str:
    """Both sides of a debate belong together."""
    return row["prompt"].splitlines()[0]


def first_turn(row: Row) -> str:
    """Dialogues that begin alike belong together."""
    return row["prompt"].partition("\n\nAssistant:")[0]


def prompt(row: Row) -> str:
    """Pairs of one prompt belong together."""
    return row["prompt"]


def module(row: Row) -> str:
    """What is documented in one module belongs together."""
    return row["module"]


SETS = {
    one.name: one
    for one in (
        DataSet("docs-700", "700", "", 64, module),
        DataSet("docs-2800", "2800", "", 64, module),
        DataSet("ukp", "ukpconvarg1.jsonl.gz", "ukpconvarg1/lenbal", 192, debate),
        DataSet("small-human", "small_human.jsonl.gz", "", 192, prompt),
        DataSet("ultrafeedback", "ultrafeedback_1k.jsonl.gz", "", 256, prompt),
        DataSet("hh", "hh.jsonl.gz", "hh", 192, first_turn),
    )
}


def write_set(chosen: DataSet, data: Path, folder: Path) -> Path:
    """Write ``pairs.jsonl`` of a set below ``folder``, and return it; the model of documentation sets lies beside it."""
    place = folder / chosen.name
    file = place / "pairs.jsonl"
    if not file.exists():
        place.mkdir(parents=True, exist_ok=True)
        rows = list(_documentation(chosen, place) if chosen.documentation else _file(chosen, data))
        lines = (json.dumps({**row, GROUP: chosen.group(row)}, ensure_ascii=False) for row in rows)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def out_of_distribution(data: Path) -> list[LabeledPair]:
    """Pairs of LLMBar and MT-bench."""
    with gzip.open(data / "ood_bench.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [LabeledPair(f"{number}", row["prompt"], row["chosen"], row["rejected"], row["source"]) for number, row in enumerate(rows)]


def write_model(folder: Path) -> Path:
    """The folder of the encoder that every arm begins with."""
    place = folder / "encoder"
    if not (place / "model").exists():
        _quickstart(place, "10")
    return place / "model"


def _documentation(chosen: DataSet, place: Path) -> Iterator[Row]:
    made = place / "documentation"
    _quickstart(made, chosen.source)
    yield from map(json.loads, (made / "pairs.jsonl").read_bytes().splitlines())


def _quickstart(place: Path, pairs: str) -> None:
    script = str(ROOT / "examples" / "quickstart_data.py")
    subprocess.run([sys.executable, script, str(place), "--pairs", pairs], check=True, stdout=subprocess.DEVNULL)


def _file(chosen: DataSet, data: Path) -> Iterator[Row]:
    found = 0
    with gzip.open(data / chosen.source, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["source"].startswith(chosen.prefix):
                yield row
                found += 1
                if found == MOST_PAIRS:
                    return
