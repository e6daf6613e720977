"""Pairs per second of reward-model training in 1, 2 and 4 processes, and the share of their ideal speed that they reach.

Each number of processes trains the same model (MiniLM) on the same pairs of random words with HH's lengths, in the same steps. All take
turns, so that a busy machine is busy for all. With more threads than processors the ideal speed is that of the processors.
Processor time, summed over the processes, tells what sharing the work costs beside waiting for one another, busy machine or not.

    python -m benchmarks.distributed [--pairs 64] [--steps 4] [--rounds 3] [--threads 1] [--stage 0] [--processes 1 2 4]
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import torch
import transformers

from benchmarks.reward_model import MODEL, Quiet, processor, rows_of, synthetic_pairs
from ser_core.api.spec.training import TrainingSpec
from ser_core.data.tables import TrainingStep
from ser_core.learn.compute.precision import Precision, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.training import TrainingPair, train
from ser_core.memory.training import Sharding

MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of one step: elapsed, and of the processors, summed over the processes."""

    elapsed: float
    processor: float


class Stopwatch(Quiet):
    """Remembers when each step had ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def trained(self, step: TrainingStep) -> None:
        """One more step."""
        self.ends.append((time.perf_counter(), time.process_time()))


def work(arguments: argparse.Namespace) -> None:
    """One process: train, and print the seconds of a step; the first step warms up and is not counted."""
    set_up_process(arguments.threads)
    pairs = synthetic_pairs(arguments.pairs)
    spec = TrainingSpec(pairs_per_step=arguments.pairs, tokens_per_batch=8192)
    watch = Stopwatch()
    with process_group():
        model = load(MODEL, Precision("cpu"), max_length=MAX_LENGTH)
        ready = [TrainingPair(*rows) for rows in rows_of(model, pairs)]
        sharding = Sharding(arguments.stage, recompute=False)
        train(model, ready, spec, steps=arguments.steps + 1, watch=watch, sharding=sharding)
    print(json.dumps([(last - first) / arguments.steps for first, last in zip(watch.ends[0], watch.ends[-1], strict=True)]))


def seconds_per_step(processes: int, arguments: argparse.Namespace) -> Seconds:
    """Start that many processes as the stage's supervisor does, and wait for them."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = str(one.getsockname()[1])
    place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": str(arguments.threads)}
    settings = [f"--{name}={getattr(arguments, name)}" for name in ("pairs", "steps", "threads", "stage")]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.distributed", "--work", *settings],
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    found = [last_line(process, started) for process in started]
    return Seconds(found[0][0], sum(processor for _, processor in found))


def last_line(process: subprocess.Popen[str], group: list[subprocess.Popen[str]]) -> list[float]:
    """What a process has measured; if it fails, the others, who would wait for it, are ended."""
    output, _ = process.communicate()
    if process.returncode:
        for other in group:
            other.kill()
        raise SystemExit(f"a process ended with exit code {process.returncode}")
    measured: list[float] = json.loads(output.splitlines()[-1])
    return measured


def main() -> None:
    """Let all numbers of processes take turns, and print rates and efficiencies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64, help="of one step, over all processes")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--stage", type=int, default=0, help="ZeRO stage")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    cores = len(os.sched_getaffinity(0))
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{processor()}, {cores} cores, {arguments.threads} threads a process, {versions}")
    rounds = [{count: seconds_per_step(count, arguments) for count in arguments.processes} for _ in range(arguments.rounds)]
    first = arguments.processes[0]
    for count in arguments.processes:
        rate = statistics.median(arguments.pairs / each[count].elapsed for each in rounds)
        ideal = min(count * arguments.threads, cores) / min(first * arguments.threads, cores)
        speeds = [each[first].elapsed / each[count].elapsed / ideal for each in rounds]
        costs = [each[first].processor / each[count].processor for each in rounds]
        print(f"{count} processes, ZeRO-{arguments.stage}: {rate:6.2f} pairs/s", end="; ")
        print(f"of the ideal {shares(speeds)}, by processor time {shares(costs)}", flush=True)


def shares(values: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(values):.0%} ({min(values):.0%} to {max(values):.0%})"


if __name__ == "__main__":
    main()
