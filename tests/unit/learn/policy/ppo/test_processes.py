from pathlib import Path

import torch
from torch import multiprocessing
from unit.learn.policy.ppo.processes import aligned, process


def test_two_processes_end_with_the_weights_of_one(qwen: Path, tmp_path: Path):
    """Within 1e-5: sums are added in another order, and Adam magnifies the last bits of gradients near zero."""
    expected = aligned(qwen)
    multiprocessing.spawn(process, args=(2, str(tmp_path / "meeting"), qwen, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], weight, rtol=0, atol=1e-5, msg=name)
