import os

import pytest
import torch

from ser_core.learn.compute.precision import Precision, resolve, set_up_process

WITH_BF16 = "processor : 0\nflags : fpu avx512f avx512_bf16 amx_tile\n"
WITHOUT = "processor : 0\nflags : fpu avx2\n"


@pytest.mark.parametrize(
    ("requested", "cuda", "cuda_bf16", "cpuinfo", "expected"),
    [
        ("auto", False, False, WITHOUT, Precision("cpu")),
        ("auto", False, False, "", Precision("cpu")),
        ("auto", False, False, WITH_BF16, Precision("cpu", torch.bfloat16)),
        ("auto", False, False, "flags : amx_bf16", Precision("cpu", torch.bfloat16)),
        ("fp32", False, False, WITH_BF16, Precision("cpu")),
        ("auto", True, True, WITHOUT, Precision("cuda", torch.bfloat16)),
        ("auto", True, False, WITH_BF16, Precision("cuda")),
        ("bf16", True, True, WITHOUT, Precision("cuda", torch.bfloat16)),
        ("fp32", True, True, WITHOUT, Precision("cuda")),
    ],
)
def test_precision_follows_the_hardware(requested, cuda, cuda_bf16, cpuinfo, expected):
    assert resolve(requested, cuda=cuda, cuda_bf16=cuda_bf16, cpuinfo=cpuinfo) == expected


def test_bf16_without_the_hardware_is_refused_with_a_note():
    found = resolve("bf16", cuda=False, cuda_bf16=False, cpuinfo=WITHOUT)
    assert found.autocast is None
    assert "neither avx512_bf16 nor amx_bf16" in (found.note or "")


def test_batches_are_small_on_a_cpu_alone():
    assert Precision("cpu").batch_tokens(8192) == 2048
    assert Precision("cpu").batch_tokens(512) == 512
    assert Precision("cuda").batch_tokens(8192) == 8192


def test_a_process_is_set_up_to_repeat_itself():
    set_up_process(threads=2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    set_up_process(threads=1)
