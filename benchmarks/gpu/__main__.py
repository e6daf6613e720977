"""What one GPU of 80 GB does: each stage that computes on GPUs, as it is shipped, and peers, on random weights of 0.5 to 8 billion.

For each case: tokens a second, the share of the GPU's bf16 operations, and the bytes that the memory plan foretells beside the most that
tensors took. In an ``offload`` case moments are in main memory, in a ``vllm`` case vLLM generates for `ppo`. A case is a process of its
own; one that fails, does not fit or takes too long costs only itself, and at the end of the minutes the last one is stopped. Peers are
TRL's RewardTrainer, transformers' generate, and vLLM where it is installed.

    python -m benchmarks.gpu [--minutes 8] [--folder FOLDER] [--output results.json] [--cases retrain ppo]

It needs a GPU. ``--smoke`` runs tiny models on whatever there is, to see that each case works; its figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.case import SMOKE, Case, Load
from benchmarks.gpu.measure import run_case
from benchmarks.gpu.operations import device_name
from ser_core.memory.amounts import GIBIBYTE

CASES = (
    Case("label", "1.5B"),
    Case("retrain", "1.5B"),
    Case("reward-trainer", "1.5B"),
    Case("sft", "1.5B"),
    Case("ppo", "0.5B"),
    Case("ppo", "1.5B", adapter=True),
    Case("ppo", "1.5B", adapter=True, vllm=True),
    Case("retrain", "1.5B", offload=True),
    Case("ppo", "0.5B", offload=True),
    Case("generate", "1.5B"),
    Case("generate-hf", "1.5B"),
    Case("generate-vllm", "1.5B"),
    Case("label", "8B"),
    Case("retrain", "8B", adapter=True),
    Case("sft", "8B", adapter=True),
)
"""The most important first, since time may not suffice for all."""
SECONDS = {"tiny": 300, "0.5B": 60, "1.5B": 60, "3B": 90, "8B": 120}
"""That a case of a size may take, with making and loading its model."""
_WAIT = 20
"""Seconds left below which nothing is begun."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases one after the other; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--folder", type=Path, help="for the models, about 30 GB; left out: a temporary one")
    parser.add_argument("--output", type=Path, help="file for the results as JSON")
    parser.add_argument("--cases", nargs="+", help="only those whose name has one of these words")
    parser.add_argument("--smoke", action="store_true", help="tiny models, with or without a GPU")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.case is not None:
        load = SMOKE if chosen.smoke else Load()
        print(json.dumps(asdict(run_case(Case(**chosen.case), chosen.folder, load))))
        return 0
    if not torch.cuda.is_available() and not chosen.smoke:
        print("error: this measures a GPU, and torch finds none here; --smoke runs tiny models without one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ser-gpu-") as temporary:
        results = run_all(wanted(chosen.cases, smoke=chosen.smoke), chosen.folder or Path(temporary), 60 * chosen.minutes, chosen.smoke)
    if chosen.output:
        chosen.output.write_text(json.dumps({"device": device_name(), "torch": torch.__version__, "cases": results}, indent=2) + "\n")
    return 0 if any("tokens_per_second" in result for result in results.values()) else 1


def wanted(words: Sequence[str] | None, *, smoke: bool) -> list[Case]:
    """The cases to run; for a smoke test of the tiny size, each once."""
    cases = dict.fromkeys(replace(case, size="tiny") if smoke else case for case in CASES)
    return [case for case in cases if not words or any(word in case.name for word in words)]


def run_all(cases: Sequence[Case], folder: Path, seconds: float, smoke: bool) -> dict[str, dict[str, Any]]:
    """Run cases until the time is over, and print a line for each. Returns what each has shown, or why it has not."""
    print(f"{device_name()}, torch {torch.__version__}")
    print(f"{'case':<24}{'tokens/s':>12}{'of peak':>10}{'planned':>10}{'reached':>10}")
    end = time.monotonic() + seconds
    results = {}
    for case in cases:
        results[case.name] = run(case, folder, min(SECONDS[case.size], end - time.monotonic()), smoke)
        print(line(case, results[case.name]), flush=True)
    return results


def run(case: Case, folder: Path, seconds: float, smoke: bool) -> dict[str, Any]:
    """Run one case in its own process, for at most so many seconds."""
    if seconds < _WAIT:
        return {"failed": "no time left"}
    described = json.dumps(asdict(case))
    command = [sys.executable, "-m", "benchmarks.gpu", "--case", described, "--folder", str(folder), *(["--smoke"] if smoke else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {seconds:.0f} s"}
    if done.returncode:
        told = [text for text in done.stderr.splitlines() if text.strip()]
        return {"failed": told[-1][:200] if told else f"exit code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(case: Case, result: Mapping[str, Any]) -> str:
    """A row of the table."""
    if "failed" in result:
        return f"{case.name:<24}{result['failed']}"
    share = result["share_of_peak"]
    cells = [f"{result['tokens_per_second']:,.0f}", "" if share is None else f"{share:.0%}"]
    cells += ["" if result[name] is None else f"{result[name] / GIBIBYTE:.1f} GiB" for name in ("planned", "reached")]
    widths = (12, 10, 10, 10)
    return f"{case.name:<24}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


if __name__ == "__main__":
    sys.exit(main())
