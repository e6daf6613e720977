"""Answers per second of PPO, beside the last PPOTrainer that TRL had (1.12), in one run on one machine.

Same models (policy, reference, critic and reward model: random Qwen2 decoders), same prompts, same numbers of answers, passes and
optimizer steps, same arithmetic (fp32), same threads. The two take turns, each in a process of its own, so that a busy machine is
busy for both; the first PPO step of each is not counted. Prompts have lengths as dialogues have; random policies do not end their
answers, so all answers have the full length, which is what the peer is best at. No prompt is cut on either side.

TRL 1.12 lies in a folder of its own, which shadows the installed TRL in the peer's process alone:

    python -m pip install --no-deps --target benchmarks/.trl trl==1.12.0
    python benchmarks/ppo.py [--rounds 2] [--steps 3] [--answers 16] [--answer-tokens 32]
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

TRL = Path(__file__).parent / ".trl"
WORDS = ["".join(letters) for letters in product(ascii_lowercase, repeat=3)][:4000]
"""Letters alone: the tokenizer of this kind of model splits numbers into digits."""
LONGEST_PROMPT = 192
TEMPLATE = 16
"""Tokens around a prompt, at most; a word is one token."""


@dataclass(frozen=True, slots=True)
class Work:
    """What each side does."""

    models: str
    steps: int
    answers: int
    answer_tokens: int
    threads: int
    passes: int = 4


def make_models(folder: Path) -> None:
    """A policy and a reward model of 2 million random weights each, with one tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, Qwen2ForSequenceClassification

    # AutoTokenizer makes a byte-level tokenizer for this kind of model, whatever is stored.
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(WORDS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["[PAD]", "[EOS]"]
    )
    words.train_from_iterator(prompts(1000), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", eos_token="[EOS]", padding_side="left")
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    config.num_labels = 1
    torch.manual_seed(0)
    for name, kind in (("policy", Qwen2ForCausalLM), ("reward", Qwen2ForSequenceClassification)):
        kind(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def prompts(number: int) -> list[str]:
    """Texts with the lengths of dialogues: a median of 40 words, a twentieth with more than 190."""
    draw = random.Random(0)
    lengths = [max(4, min(LONGEST_PROMPT, round(draw.lognormvariate(3.7, 0.95)))) for _ in range(number)]
    return [" ".join(draw.choices(WORDS, k=length)) for length in lengths]


class Stopwatch:
    """Of each step the seconds elapsed, and those of the processors."""

    def __init__(self) -> None:
        self.seconds: list[tuple[float, float]] = []
        self.start()

    def start(self) -> None:
        """The next step begins now."""
        self._last = time.perf_counter(), time.process_time()

    def step(self) -> None:
        """A step has ended."""
        before = self._last
        self.start()
        self.seconds.append((self._last[0] - before[0], self._last[1] - before[1]))


def ours(work: Work) -> list[tuple[float, float]]:
    """Seconds of each PPO step."""
    from ser_core.learn.compute.precision import Precision, set_up_process
    from ser_core.learn.policy.generation import TransformersGenerator, encode_prompts
    from ser_core.learn.policy.policy import load_policy
    from ser_core.learn.policy.ppo.critic import make_critic
    from ser_core.learn.policy.ppo.metrics import StepMetrics
    from ser_core.learn.policy.ppo.ppo import align
    from ser_core.learn.policy.ppo.settings import Settings
    from ser_core.learn.policy.ppo.state import SavedState
    from ser_core.learn.policy.scorers import RewardModelScorer
    from ser_core.learn.reward.reward_model import load

    class Clock(Stopwatch):
        def stopping(self) -> bool:
            return False

        def checkpoint_due(self) -> bool:
            return False

        def save(self, saved: SavedState) -> None:
            pass

        def silent(self, phase: str) -> None:
            pass

        def stepped(self, metrics: StepMetrics) -> None:
            self.step()
            parts = metrics.generate_seconds, metrics.score_seconds, metrics.train_seconds
            print("  ours: generate {:.2f} s, score {:.2f} s, train {:.2f} s".format(*parts), file=sys.stderr)

    set_up_process(work.threads)
    folder, precision = Path(work.models), Precision("cpu")
    policy = load_policy(folder / "policy", precision)
    critic, _ = make_critic(folder / "reward", folder / "policy", precision, policy.tokenizer.get_vocab())
    scorer = RewardModelScorer(load(folder / "reward", precision, max_length=LONGEST_PROMPT + work.answer_tokens + TEMPLATE), 8192)
    generator = TransformersGenerator(policy.network, pad_token=0, end_tokens=policy.end_tokens, device="cpu")
    texts = prompts(work.steps * work.answers)
    settings = Settings(
        answers_per_step=work.answers, answer_tokens=work.answer_tokens, epochs=work.passes, minibatches=1, step_kl_limit=None
    )
    clock = Clock()
    found = encode_prompts(policy.tokenizer, texts, tokens=LONGEST_PROMPT + TEMPLATE)
    align(policy, critic, generator, found, scorer, settings, steps=work.steps, watch=clock)
    return clock.seconds


def peer(work: Work) -> list[tuple[float, float]]:
    """Seconds of each PPO step of TRL 1.12."""
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    assert trl.__version__ == "1.12.0", f"TRL {trl.__version__} was found in place of 1.12.0"

    class Clock(Stopwatch, TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.step()

    torch.set_num_threads(work.threads)
    folder = Path(work.models)
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy")
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "policy") for _ in range(2))
    critic, reward_model = (AutoModelForSequenceClassification.from_pretrained(folder / "reward", num_labels=1) for _ in range(2))
    # The same text that ours reads, template included.
    texts = [f"Question: {text}\n\nAnswer:" for text in prompts(work.steps * work.answers)]
    clock = Clock()
    arguments = PPOConfig(
        output_dir=str(folder / "peer"),
        per_device_train_batch_size=work.answers,  # faster here than its default of 8 with accumulated gradients
        local_rollout_forward_batch_size=work.answers,
        num_ppo_epochs=work.passes,
        num_mini_batches=1,
        total_episodes=work.steps * work.answers,
        response_length=work.answer_tokens,
        stop_token="eos",
        missing_eos_penalty=1.0,
        num_sample_generations=0,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    rows = Dataset.from_dict({"input_ids": [tokenizer(text)["input_ids"] for text in texts]})
    trainer = PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward_model,
        value_model=critic,
        train_dataset=rows,
        eval_dataset=rows,
        callbacks=[clock],
    )
    trainer.train()
    return clock.seconds


def measure(side: str, work: Work) -> tuple[float, float]:
    """Answers per second, and per second of the processors, of one side in a process of its own, without its first step."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(work.threads), "TOKENIZERS_PARALLELISM": "false"}
    if side == "peer":
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TRL), os.environ.get("PYTHONPATH"))))
    told = subprocess.run(
        [sys.executable, __file__, "--side", side, "--work", json.dumps(asdict(work))],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    elapsed, processor = zip(*json.loads(told.stdout.strip().splitlines()[-1])[1:], strict=True)
    return work.answers * len(elapsed) / sum(elapsed), work.answers * len(processor) / sum(processor)


Rate = tuple[float, float]
"""Answers per second, and per second of the processors."""


def report(rates: Sequence[tuple[Rate, Rate]]) -> None:
    """Medians and ratios; ``rates`` has ours and the peer's of each round."""
    for number, kind in enumerate(("elapsed time", "processor time")):
        ratios = sorted(mine[number] / theirs[number] for mine, theirs in rates)
        mine, theirs = (statistics.median(both[side][number] for both in rates) for side in (0, 1))
        rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"PPO by {kind}: ours {mine:.2f} answers/s, TRL 1.12 {theirs:.2f} answers/s, "
            f"ratio {statistics.median(ratios):.2f} (rounds: {rounds})"
        )


def main() -> None:
    """Let both take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--answers", type=int, default=16)
    parser.add_argument("--answer-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"ours": ours, "peer": peer}[arguments.side](Work(**json.loads(arguments.work)))))
        return
    if not TRL.exists():
        sys.exit(f"error: {TRL} is missing\nhint: make bench installs TRL 1.12 there")
    with tempfile.TemporaryDirectory() as name:
        make_models(Path(name))
        work = Work(name, arguments.steps, arguments.answers, arguments.answer_tokens, arguments.threads)
        report([(measure("ours", work), measure("peer", work)) for _ in range(arguments.rounds)])


if __name__ == "__main__":
    main()
