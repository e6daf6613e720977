"""What stages are compared with: generators, and the trainer of TRL."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.case import Load


def generate(model: Path, load: Load, device: str, *, vllm: bool) -> float:
    """Tokens a second of the generator of `ppo`."""
    from ser_core.learn.compute.precision import detect, set_up_process
    from ser_core.learn.policy.generation import Generator, TransformersGenerator
    from ser_core.learn.policy.policy import load_policy
    from ser_core.learn.policy.vllm_generation import VllmGenerator

    set_up_process(8)
    precision = detect("auto")
    policy = load_policy(model, precision)
    if vllm:
        generator: Generator = VllmGenerator(policy, model, tokens=load.row)
    else:
        ends, autocast = policy.end_tokens, precision.autocast
        generator = TransformersGenerator(policy.network, pad_token=ends[0], end_tokens=ends, device=device, autocast=autocast)
    return _answers_per_second(lambda: generator.generate(_prompts(load), tokens=load.answer, temperature=1.0))


def generate_plainly(model: Path, load: Load, device: str) -> float:
    """Tokens a second of transformers' own generate, weights in bf16."""
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    network = network.to(device).eval()
    prompts = torch.tensor(_prompts(load), device=device)

    def answers() -> list[list[int]]:
        found = network.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=load.answer, do_sample=True, top_k=0)
        return [row[load.prompt :].tolist() for row in found]

    return _answers_per_second(answers)


def reward_trainer(place: Path, load: Load, device: str) -> float:
    """Tokens a second of TRL's RewardTrainer on the pairs of `retrain`, all weights, with as many tokens a micro-batch."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    tokenizer = AutoTokenizer.from_pretrained(place / "model")
    network = AutoModelForSequenceClassification.from_pretrained(place / "model", num_labels=1, dtype=torch.float32)
    network.config.pad_token_id = tokenizer.pad_token_id
    draw = random.Random(0)

    def rows() -> list[list[int]]:
        return [[draw.randrange(26) for _ in range(load.row)] for _ in range(load.steps * load.per_step)]

    together = max(1, min(load.per_step, load.tokens_per_batch // (2 * load.row)))
    config = RewardConfig(
        output_dir=str(place / "trainer"),
        per_device_train_batch_size=together,
        gradient_accumulation_steps=max(1, load.per_step // together),
        num_train_epochs=1,
        max_length=2 * load.row,
        bf16=device == "cuda",
        use_cpu=device == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    data = Dataset.from_dict({"chosen_ids": rows(), "rejected_ids": rows()})
    trainer = RewardTrainer(model=network, args=config, train_dataset=data, processing_class=tokenizer)
    began = time.perf_counter()
    trainer.train()
    return 2 * load.row * len(data) / (time.perf_counter() - began)


def _prompts(load: Load) -> Sequence[Sequence[int]]:
    draw = random.Random(0)
    return [[draw.randrange(26) for _ in range(load.prompt)] for _ in range(load.per_step)]


def _answers_per_second(generate: Callable[[], Sequence[Sequence[int]]]) -> float:
    """Answer tokens a second; the first call warms up."""
    generate()
    began = time.perf_counter()
    count = sum(map(len, generate()))
    return count / (time.perf_counter() - began)
