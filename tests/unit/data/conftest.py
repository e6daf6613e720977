import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ser_core.api.spec.data import DataSpec, FileSpec, SourceSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.preparing.preparation import Prepared, prepare_data
from ser_core.data.reading.locations import Access
from ser_core.errors import DataError

Rows = list[dict[str, Any]]


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(StorageSpec(uri=f"file://{tmp_path}/store"), HubSpec())


@pytest.fixture
def good() -> Callable[[int], Rows]:
    def rows(count: int) -> Rows:
        words = ("longer and much more careful", "brief")
        return [
            {"prompt": f"question {n}", "chosen": f"right {words[n % 2]} {n}", "rejected": f"wrong {words[1 - n % 2]} {n}"}
            for n in range(count)
        ]

    return rows


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as JSON lines, or bytes as they are."""

    def to_file(content: Rows | bytes, name: str = "data.jsonl") -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else "".join(json.dumps(row) + "\n" for row in content).encode())
        return path

    return to_file


@pytest.fixture
def prepare(write: Callable[..., Path], access: Access, tmp_path: Path) -> Callable[..., Prepared]:
    """Prepare one labelled source given as rows, bytes or path."""
    count = iter(range(1000))

    def run(content: Rows | bytes | Path, name: str = "data.jsonl", *, seed: int = 0, dropped: float = 0.1, **source: Any) -> Prepared:
        path = content if isinstance(content, Path) else write(content, name)
        folder = tmp_path / f"work{next(count)}"
        folder.mkdir()
        data = DataSpec(source=SourceSpec(uri=f"file://{path}", **source), max_dropped_fraction=dropped)
        return prepare_data(data, seed, access, folder, lambda *_: None, turns=False)

    return run


@pytest.fixture
def refusal(prepare: Callable[..., Prepared]) -> Callable[..., DataError]:
    """The error that a source is refused with."""

    def of(content: Rows | bytes | Path, name: str = "data.jsonl", **options: Any) -> DataError:
        with pytest.raises(DataError) as caught:
            prepare(content, name, **options)
        assert caught.value.hint
        return caught.value

    return of


@pytest.fixture
def prepare_three(write: Callable[..., Path], access: Access, tmp_path: Path) -> Callable[..., Prepared]:
    """Prepare the three-file form from rows."""

    def run(seed: Rows, unlabeled: Rows, heldout: Rows, dropped: float = 0.1, split_by: str | None = None) -> Prepared:
        given = {"seed": seed, "unlabeled": unlabeled, "heldout": heldout}
        files = {part: FileSpec(uri=f"file://{write(rows, part + '.jsonl')}") for part, rows in given.items()}
        folder = tmp_path / "three"
        folder.mkdir(exist_ok=True)
        data = DataSpec(**files, max_dropped_fraction=dropped, split_by=split_by)
        return prepare_data(data, 0, access, folder, lambda *_: None, turns=False)

    return run
