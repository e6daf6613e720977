"""How fast a policy answers, by HF generate and by vLLM, in turns: ``python benchmarks/generation.py POLICY`` where vLLM is installed."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from ser_core.learn.compute.precision import detect, set_up_process
from ser_core.learn.policy.generation import Generator, TransformersGenerator
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.policy.vllm_generation import VllmGenerator


def main() -> None:
    """Print answers a second of each generator, and their ratio, round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path, help="folder of a causal language model")
    parser.add_argument("--answers", type=int, default=128)
    parser.add_argument("--prompt-tokens", type=int, default=128, help="longest prompt; the shortest has a quarter of it")
    parser.add_argument("--answer-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    set_up_process(chosen.threads)
    precision = detect("auto")
    policy = load_policy(chosen.policy, precision)
    generators: dict[str, Generator] = {
        "transformers": TransformersGenerator(
            policy.network,
            pad_token=policy.end_tokens[0],
            end_tokens=policy.end_tokens,
            device=precision.device,
            autocast=precision.autocast,
        ),
        "vllm": VllmGenerator(policy, chosen.policy, tokens=chosen.prompt_tokens + chosen.answer_tokens),
    }
    prompts = _prompts(chosen.answers, chosen.prompt_tokens, policy.network.config.vocab_size)
    seconds: dict[str, list[float]] = {name: [] for name in generators}
    for _ in range(chosen.rounds + 1):  # the first one warms up
        for name, generator in generators.items():
            answer = lambda one=generator: one.generate(prompts, tokens=chosen.answer_tokens, temperature=1.0)  # noqa: E731
            seconds[name].append(_timed(answer))
    measured = {name: times[1:] for name, times in seconds.items()}
    ratios = [slow / fast for slow, fast in zip(measured["transformers"], measured["vllm"], strict=True)]
    for name, times in measured.items():
        print(f"{name}: {chosen.answers / median(times):.2f} answers/s")
    print(f"ratio {median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))}); {precision.device}")


def _prompts(count: int, longest: int, vocabulary: int) -> Sequence[Sequence[int]]:
    random = np.random.default_rng(0)
    return [random.integers(vocabulary, size=random.integers(longest // 4, longest + 1)).tolist() for _ in range(count)]


def _timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


if __name__ == "__main__":
    main()
