"""Shapes of tensors are read from the headers of their files; what is no safetensors file is refused."""

import struct
from pathlib import Path

import pytest

from ser_core.data.reading.locations import LocalFolder
from ser_core.data.reading.weight_headers import shape_of_folder, tensor_shapes
from ser_core.errors import SpecError


def folder_with(content: bytes, folder: Path) -> LocalFolder:
    (folder / "model.safetensors").write_bytes(content)
    return LocalFolder(f"file://{folder}", {"model.safetensors": len(content)}, folder)


def test_the_shapes_of_a_model_are_those_of_its_tensors(qwen: Path):
    import safetensors

    location = LocalFolder(str(qwen), {path.name: path.stat().st_size for path in qwen.iterdir()}, qwen)
    with safetensors.safe_open(qwen / "model.safetensors", "pt") as file:
        expected = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert tensor_shapes(location, location.sizes) == expected
    assert shape_of_folder(qwen).layers == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it starts with b'version '"),
        (struct.pack("<Q", 100) + b"{}", "its header has 2 of 100 bytes"),
        (struct.pack("<Q", 2) + b"{]", "its header is no JSON"),
        (struct.pack("<Q", 2) + b"[]", "its header is no JSON object"),
    ],
    ids=["empty", "Git LFS pointer", "cut off", "damaged", "a list"],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes, told: str):
    with pytest.raises(SpecError) as raised:
        tensor_shapes(folder_with(content, tmp_path), ["model.safetensors"])
    assert raised.value.reason == "BadWeights"
    assert told in raised.value.message
