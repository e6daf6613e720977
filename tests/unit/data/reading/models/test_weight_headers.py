"""Shapes of tensors are read from the headers of their files; what is no safetensors file is refused."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from ser_core.data.reading.locations import LocalFolder
from ser_core.data.reading.models.weight_headers import refuse_zeros, shape_of_folder, tensor_shapes
from ser_core.errors import SpecError


def with_header(header: dict[str, Any], numbers: int = 0) -> bytes:
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + b"\0" * numbers


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
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it is a Git LFS pointer"),
        (b"PK\x03\x04archive", "it is a zip file"),
        (b"GGUF\x03\0\0\0more", "it is a GGUF file"),
        (b"<!doctype html>", "it is a web page"),
        (b"weights!", "it starts with b'weights!'"),
        (struct.pack("<Q", 100) + b"{}", "its header has 2 of 100 bytes"),
        (struct.pack("<Q", 2) + b"{]", "its header is no JSON"),
        (struct.pack("<Q", 2) + b"[]", "its header is no JSON object"),
        (struct.pack("<Q", 9000) + b"[" * 9000, "its header is no JSON"),
        (with_header({}), "there is no tensor in it"),
        (with_header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}), "it is cut off: it has"),
        (with_header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 9), "and its header tells of"),
        (with_header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, 4), "its header says of 'a' only"),
        (with_header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, 4), "its header says of 'a' only"),
        (with_header({"a": {"shape": [1]}}), "its header says of 'a' only"),
        (with_header({"a": [1]}), "its header says of 'a' only"),
        (with_header({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, 2), "overlap or leave a gap at byte 0"),
    ],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes, told: str):
    with pytest.raises(SpecError) as raised:
        tensor_shapes(folder_with(content, tmp_path), ["model.safetensors"])
    assert raised.value.reason == "BadWeights"
    assert told in raised.value.message


@pytest.mark.parametrize("numbers", [{"a": b"\0" * 64, "b": b"\0" * 64}, {"a": b"\0" * (3 << 20)}])
def test_weights_that_are_zero_throughout_are_refused(tmp_path: Path, numbers: dict[str, bytes]):
    with pytest.raises(SpecError) as raised:
        refuse_zeros(*files_of(tmp_path, numbers))
    assert raised.value.reason == "BadWeights"


@pytest.mark.parametrize(
    "numbers", [{"a": b"\0" * 64, "b": b"\0" * 63 + b"\1"}, {"a": b"\0" * ((1 << 20) - 1) + b"\1" + b"\0" * (3 << 20)}]
)
def test_a_part_of_weights_may_be_zero(tmp_path: Path, numbers: dict[str, bytes]):
    refuse_zeros(*files_of(tmp_path, numbers))


def files_of(folder: Path, numbers: dict[str, bytes]) -> tuple[LocalFolder, list[str]]:
    """One file of one tensor for each."""
    for name, held in numbers.items():
        (folder / f"{name}.safetensors").write_bytes(
            with_header({name: {"dtype": "U8", "shape": [len(held)], "data_offsets": [0, len(held)]}}) + held
        )
    names = [f"{name}.safetensors" for name in numbers]
    return LocalFolder(f"file://{folder}", dict.fromkeys(names), folder), names
