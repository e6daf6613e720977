"""What checkpoints cost the training of a reward model, what a SIGKILL costs, and which share of the time is left for training.

Two measurements with MiniLM, all of whose weights are trained:

- Steps of equal work in this process, with a checkpoint now and then, saved as the stage saves it: how long it keeps the training waiting,
  and how much slower the steps are while it is uploaded.
- The stage as a process of its own, killed by SIGKILL and started again: seconds until its next optimizer step has ended.

    python -m benchmarks.checkpoints [--store file] [--rounds 5] [--threads 2] [--minutes-between-kills 30]
"""

import argparse
import contextlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import boto3

from benchmarks.reward_model import MODEL, processor
from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import InputRole, RunIdentity, StageResult, StageSpec
from ser_core.api.status import StageKind
from ser_core.data.tables import TrainingStep
from ser_core.learn.compute.precision import Precision, set_up_process
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.training import TrainingPair, TrainingState, train
from ser_core.store.objects.connect import connect
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.commit import read_manifest
from ser_jobs.process.background_checkpoints import BackgroundCheckpoints
from ser_jobs.process.context import StageContext
from ser_jobs.telemetry import heartbeat
from ser_jobs.telemetry.reporter import EventLog
from ser_jobs.training.checkpoint_interval import CheckpointInterval
from ser_jobs.training.retrain.training_progress import TrainingProgress

PAIRS, WORDS = 600, 14
"""Pairs of the data, and words of each prompt and answer; all rows are equally long."""
STEPS_WATCHED = 8
"""Steps after a checkpoint that its upload may slow down, and as many before the next one that it does not."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one checkpoint, in seconds."""

    waiting: float
    """The training does nothing else."""
    slower: float
    """More than the same steps take without an upload."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Of one checkpoint, in seconds."""

    elapsed: float
    processor: float


class Meter(TrainingProgress):
    """Saves every so many steps, and notes what it costs."""

    def __init__(self, context: StageContext, total: int) -> None:
        self.costs: list[Cost] = []
        self._seconds: list[float] = []
        self._waiting = 0.0
        super().__init__(context, 0, "cpu")
        self.expect(total)
        self._since = time.perf_counter()

    def checkpoint_due(self) -> bool:
        """After as many steps as are watched."""
        return not len(self._seconds) % (2 * STEPS_WATCHED)

    def save(self, state: TrainingState) -> None:
        """Keep a checkpoint; then the one before it is over."""
        if len(self._seconds) > 2 * STEPS_WATCHED:  # the first one follows steps that warm up, and takes them for the slow ones
            slow, quick = self._seconds[-2 * STEPS_WATCHED : -STEPS_WATCHED], self._seconds[-STEPS_WATCHED:]
            self.costs.append(Cost(self._waiting, sum(slow) - STEPS_WATCHED * median(quick)))
        began = time.perf_counter()
        super().save(state)
        self._since = time.perf_counter()
        self._waiting = self._since - began

    def trained(self, step: TrainingStep) -> None:
        """One more step."""
        now = time.perf_counter()
        self._seconds.append(now - self._since)
        self._since = now
        super().trained(step)


def write_data(path: Path) -> None:
    """Pairs of random words, all equally long."""
    from transformers import AutoTokenizer

    draw = random.Random(0)
    words = sorted(word for word in AutoTokenizer.from_pretrained(MODEL).get_vocab() if word.isalpha() and word.isascii())
    texts = [[" ".join(draw.choices(words, k=WORDS)) for _ in range(3)] for _ in range(PAIRS)]
    path.write_text("".join(json.dumps(dict(zip(("prompt", "chosen", "rejected"), text, strict=True))) + "\n" for text in texts))


def spec_of(folder: Path, storage: dict[str, Any]) -> SERRunSpec:
    """A run on that data, whose training outlasts the measurement."""
    return SERRunSpec.model_validate(
        {
            "rewardModel": {"base": f"file://{MODEL}", "maxLength": 2 * WORDS + 3, "precision": "fp32"},
            "data": {"source": {"uri": f"file://{folder}/pairs.jsonl", "seedFraction": 0.8, "heldoutFraction": 0.1}, "devFraction": 0.1},
            "training": {"pairsPerStep": 4, "epochs": 20, "tokensPerBatch": 2048},
            "loop": {"rule": "reference"},
            "storage": storage,
        }
    )


class Stage:
    """Processes that carry out stages of one run."""

    def __init__(self, folder: Path, storage: dict[str, Any], threads: int) -> None:
        self.folder = folder
        self.spec = spec_of(folder, storage)
        self._threads = threads
        self._run = RunIdentity(namespace="default", name="run", uid="uid")
        self.prepared = self._prepare()

    def stage_spec(self, stage: StageKind, attempt: int) -> StageSpec:
        """What one attempt is told."""
        inputs = {} if stage is StageKind.PREPARE else {InputRole.PREPARED: self.prepared}
        return StageSpec(run=self._run, stage=stage, iteration=0, attempt=attempt, spec=self.spec, inputs=inputs, threads=self._threads)

    def checkpoints(self) -> CheckpointStore:
        """Those of the retrain."""
        return CheckpointStore(connect(self.spec.storage), self._run, 0, StageKind.RETRAIN)

    def start(self, stage: StageKind, attempt: int = 1) -> subprocess.Popen[str]:
        """One attempt, as a pod or `ser run` starts it."""
        (self.folder / "heartbeat").unlink(missing_ok=True)
        surroundings = {
            "SER_STAGE": self.stage_spec(stage, attempt).model_dump_json(by_alias=True),
            "SER_TERMINATION_MESSAGE": str(self.folder / "message"),
            "SER_HEARTBEAT": str(self.folder / "heartbeat"),
            "SER_WORKDIR": str(self.folder),
            "OMP_NUM_THREADS": str(self._threads),
        }
        command = [sys.executable, "-m", "ser_jobs.runtime"]
        return subprocess.Popen(command, env=os.environ | surroundings, stdout=subprocess.DEVNULL, text=True)

    def until_trained(self, process: subprocess.Popen[str]) -> None:
        """Wait until an optimizer step has ended."""
        while process.poll() is None:
            sign = heartbeat.read(self.folder / "heartbeat")
            if sign is not None and sign.phase == "loading the model" and sign.steps:
                return
            time.sleep(0.01)
        raise SystemExit(f"the stage has ended: {(self.folder / 'message').read_text(encoding='utf-8')}")

    def _prepare(self) -> Any:
        process = self.start(StageKind.PREPARE)
        if process.wait():
            raise SystemExit(f"prepare has failed: {(self.folder / 'message').read_text(encoding='utf-8')}")
        return StageResult.model_validate_json((self.folder / "message").read_text(encoding="utf-8")).manifest


def costs_of_checkpoints(stage: Stage, rounds: int, threads: int) -> tuple[list[Cost], Upload]:
    """What each checkpoint cost a training in this process, and an upload with nothing beside it."""
    set_up_process(threads)
    spec = stage.stage_spec(StageKind.CONTROL_SEED_ONLY, 1)
    store = connect(spec.spec.storage)
    workdir = stage.folder / "costs"
    (workdir / "under-way").mkdir(parents=True)
    checkpoints = BackgroundCheckpoints(CheckpointStore(store, spec.run, 0, spec.stage), workdir / "under-way")
    log = EventLog(workdir / "log.jsonl", io.StringIO())
    inputs = {InputRole.PREPARED: read_manifest(store, stage.prepared)}
    context = StageContext(spec, store, inputs, workdir, log, lambda: False, checkpoints)
    model = load(context.fetch_folder(InputRole.PREPARED, "model"), Precision("cpu"), max_length=2 * WORDS + 3)
    texts = [json.loads(line) for line in (stage.folder / "pairs.jsonl").read_bytes().splitlines()]
    rows = model.encoder.pairs(*([text[name] for text in texts] for name in ("prompt", "chosen", "rejected")))
    steps = 2 * STEPS_WATCHED * (rounds + 2)
    meter = Meter(context, steps * 4)
    state = train(model, [TrainingPair(*both) for both in rows], spec.spec.training, steps=steps, watch=meter)
    checkpoints.wait()
    super(Meter, meter).save(state)
    began = time.perf_counter()
    checkpoints.wait()
    return meter.costs[-rounds:], Upload(time.perf_counter() - began, checkpoints.beside)


def seconds_to_the_next_step(stage: Stage, rounds: int) -> list[float]:
    """Kill the retrain after its first checkpoint, and again after the first step of every later attempt."""
    process = stage.start(StageKind.RETRAIN)
    seconds = []
    try:
        stage.until_trained(process)
        while stage.checkpoints().newest_step() is None:
            time.sleep(0.1)
        for attempt in range(2, rounds + 2):
            process.send_signal(signal.SIGKILL)
            began = time.perf_counter()
            process.wait()
            process = stage.start(StageKind.RETRAIN, attempt)
            stage.until_trained(process)
            seconds.append(time.perf_counter() - began)
    finally:
        process.kill()
        process.wait()
    return seconds


@contextlib.contextmanager
def storage_of(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A store: a folder, or S3 as moto serves it from a process of its own."""
    if kind == "file":
        yield {"uri": f"file://{folder}/store"}
        return
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.1)
        endpoint = f"http://127.0.0.1:{port}"
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="runs")
        yield {"uri": "s3://runs/bench", "endpoint": endpoint}
    finally:
        server.kill()
        server.wait()


def interval_after(waiting: float, beside: float) -> float:
    """Seconds from the end of a checkpoint that took so long to the next one, by the stage's own rule."""
    times = iter((0.0, 0.0, waiting))
    interval = CheckpointInterval(lambda: beside, lambda: next(times))
    interval.due()
    interval.saved()
    return interval.seconds


def report(costs: list[Cost], upload: Upload, restarts: list[float], period: float) -> None:
    """The table, and how the last row comes about."""
    waiting, slower = (median(getattr(cost, name) for cost in costs) for name in ("waiting", "slower"))
    interval = interval_after(waiting, upload.processor)
    overhead = (waiting + slower) / (interval + waiting)
    restart, lost = median(restarts), interval / 2 + upload.elapsed
    effective = (period - overhead * period - lost - restart) / period
    print("| | |\n|---|---|")
    print(f"| a checkpoint keeps the training waiting | {spread([cost.waiting for cost in costs])} s |")
    print(f"| its upload takes, with nothing beside it | {upload.elapsed:.2f} s, and {upload.processor:.2f} s of a processor |")
    print(f"| the upload makes the steps beside it longer by | {spread([cost.slower for cost in costs])} s in all |")
    print(f"| so the stage saves every | {interval:.1f} s |")
    print(f"| and checkpoints take, of the time | {overhead:.1%} |")
    print(f"| from SIGKILL to the end of the next optimizer step | {spread(restarts)} s |")
    print(f"| work lost by a SIGKILL: half an interval and an upload | {lost:.1f} s |")
    print(f"| effective training time with a SIGKILL every {period / 60:g} minutes | {effective:.1%} |")


def spread(values: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=("file", "s3"), default="file", help="s3: served by moto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--minutes-between-kills", type=float, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, storage_of(arguments.store, Path(name)) as storage:
        folder = Path(name)
        write_data(folder / "pairs.jsonl")
        stage = Stage(folder, storage, arguments.threads)
        print(f"{processor()}, {arguments.threads} threads, MiniLM, store: {arguments.store}")
        restarts = seconds_to_the_next_step(stage, arguments.rounds)
        print(f"from SIGKILL to the end of the next step: {spread(restarts)} s", flush=True)
        costs, upload = costs_of_checkpoints(stage, arguments.rounds, arguments.threads)
        report(costs, upload, restarts, 60 * arguments.minutes_between_kills)


if __name__ == "__main__":
    main()
