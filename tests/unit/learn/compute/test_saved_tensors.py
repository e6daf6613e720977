"""What several processes have saved is read as if one had saved it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ser_core.errors import SpecError
from ser_core.learn.compute.saved_tensors import key_of, open_saved

WHOLE = torch.arange(15.0).view(3, 5)


def write(folder: Path, *bounds: tuple[int, int]) -> Path:
    """The numbers between ``bounds``, those of each process; and one that all have."""
    for rank, (start, end) in enumerate(bounds):
        place = folder / (f"rank-{rank}" if rank else "")
        place.mkdir(parents=True, exist_ok=True)
        values = WHOLE.flatten()[start:end].clone()
        pieces = {key_of("exp_avg/a.b", start, len(values), WHOLE.shape): values} if end > start else {}
        save_file(pieces | {"step/a.b": torch.tensor(3.0)}, place / "state.safetensors")
    return folder


def test_pieces_are_put_together(tmp_path: Path):
    found = open_saved(write(tmp_path, (0, 4), (4, 13), (13, 15), (15, 15)), "state.safetensors")
    assert set(found) == {"exp_avg/a.b", "step/a.b"}
    assert torch.equal(found["exp_avg/a.b"], WHOLE)
    assert found.below("exp_avg/").keys() == {"a.b"}


def test_a_file_of_an_earlier_version_has_whole_tensors(tmp_path: Path):
    save_file({"weight/a": WHOLE}, tmp_path / "state.safetensors")
    assert torch.equal(open_saved(tmp_path, "state.safetensors")["weight/a"], WHOLE)


@pytest.mark.parametrize("bounds", [((0, 4), (5, 15)), ((0, 4), (4, 14)), ((1, 15),)])
def test_missing_numbers_are_refused(tmp_path: Path, bounds: tuple[tuple[int, int], ...]):
    with pytest.raises(SpecError, match=r"lacks numbers of exp_avg/a\.b"):
        open_saved(write(tmp_path, *bounds), "state.safetensors")
