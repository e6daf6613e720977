"""vLLM as the generator. It is an optional package (extra ``vllm``); its engine runs in the trainer's process, beside the policy.

Every call first copies the policy's current weights into the engine, and afterwards checks that the answers came from these weights: with
an engine that keeps old weights, a policy would seem not to learn. Only the engine's tokens are used, never its probabilities.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ser_core.errors import SpecError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.whole_copy import gathered
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.policy import Policy
from ser_core.memory.learners import VLLM_SHARE
from ser_core.store.stages.model_folder import root

LARGEST_DIFFERENCE = 0.1
"""Largest difference between the log-probabilities of engine and policy, in nats per token, mean over an answer, that can be rounding.

Measured with fp32: 5e-7. bf16 was not measured.
"""


class VllmGenerator:
    """See `Generator`.

    Args:
        policy: Its weights are copied into the engine.
        folder: Folder that the policy was loaded from; the engine reads only the configuration in it.
        tokens: Tokens of the longest prompt and the longest answer together.
        memory_share: Share of the device's memory for the engine.

    Raises:
        SpecError: vLLM does not support the model, or has too little memory (``GeneratorRefused``).
    """

    def __init__(self, policy: Policy, folder: Path, *, tokens: int, memory_share: float = VLLM_SHARE) -> None:
        self._policy = policy
        self._vllm = _import_vllm()
        try:
            self._engine = self._vllm.LLM(
                str(root(folder)),
                load_format="dummy",  # the weights come from the policy
                # An untied head is loaded like every other weight. vLLM's CPU engine does not update a tied head.
                hf_overrides={"tie_word_embeddings": False},
                skip_tokenizer_init=True,
                generation_config="vllm",  # with the model's own settings the samples would not come from the policy that learns
                dtype="float32" if policy.precision.autocast is None else "bfloat16",
                max_model_len=tokens,
                gpu_memory_utilization=memory_share,
                enable_prefix_caching=False,  # a cached prefix was computed with old weights
                enforce_eager=True,  # compiling needs a compiler, which the image does not have
                logprobs_mode="processed_logprobs",
                distributed_executor_backend="external_launcher" if ranks.count() > 1 else None,
            )
        except (ValueError, NotImplementedError) as error:
            raise SpecError(
                f"policy.generator: vLLM cannot run {policy.network.config.model_type}: {str(error).strip().splitlines()[-1]}",
                reason="GeneratorRefused",
                hint="set policy.generator to transformers, or correct what vLLM names",
            ) from error

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        """See `Generator.generate`.

        Raises:
            SpecError: The engine answered with other weights than the policy's (``GeneratorOutOfStep``).
        """
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": plain_weights(self._policy.network)})
        seeds = torch.randint(2**31, (len(prompts),)).tolist()  # after a resume, torch's seed gives the same answers
        found = self._engine.generate(
            [self._vllm.TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts],
            [self._sampling(tokens, temperature, seed) for seed in seeds],
            use_tqdm=False,
        )
        answers = [list(row.outputs[0].token_ids) for row in found]
        # With many processes, one can have no prompt. It computes all the same, since weights may be cut.
        self._check(
            prompts[0] if prompts else [0], answers[0] if prompts else [], found[0].outputs[0].logprobs if prompts else [], temperature
        )
        return answers

    def _sampling(self, tokens: int, temperature: float, seed: int) -> Any:
        ends = list(self._policy.end_tokens)
        return self._vllm.SamplingParams(
            max_tokens=tokens, temperature=temperature, seed=seed, stop_token_ids=ends, logprobs=0, detokenize=False
        )

    @torch.no_grad()
    def _check(self, prompt: Sequence[int], answer: list[int], engine: Sequence[Any], temperature: float) -> None:
        """Compare the engine's log-probabilities of one answer with the policy's."""
        told = torch.tensor([step[token].logprob for step, token in zip(engine, answer, strict=True)])
        batch = sequences([prompt], [answer], self._policy.precision.device)
        own = self._policy.log_probabilities(batch, temperature)[0, : len(answer)].cpu()
        if not answer:
            return
        apart = (told - own).abs().mean().item()
        if not apart <= LARGEST_DIFFERENCE:
            raise SpecError(
                f"policy.generator: vLLM {self._vllm.__version__} answers with other weights than the policy's: their log-probabilities "
                f"differ by {apart:.3f} nats per token, and rounding explains at most {LARGEST_DIFFERENCE}",
                reason="GeneratorOutOfStep",
                hint="set policy.generator to transformers, or install another version of vLLM",
            )


@torch.no_grad()
def plain_weights(network: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and weights of the model without adapter layers, one at a time.

    An adapter is added to the weight that it adapts. A tied head comes under both of its names.

    Args:
        network: A transformers model, with or without a LoRA adapter of peft.
    """
    plain = network.get_base_model() if hasattr(network, "get_base_model") else network
    for name, weight in plain.named_parameters(remove_duplicate=False):
        layer, _, kind = name.rpartition(".")
        if ".lora_" in layer:
            continue
        plain_name = name.replace(".base_layer.", ".")
        adapted = plain.get_submodule(layer.removesuffix(".base_layer")) if layer.endswith(".base_layer") and kind == "weight" else None
        with gathered(weight, *([] if adapted is None else adapted.parameters())):
            yield plain_name, weight.detach() if adapted is None else weight + adapted.get_delta_weight(adapted.active_adapters[0])


def _import_vllm() -> Any:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine runs in this process, so weights need no transport
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # without it vLLM sends usage data to its makers
    os.environ.setdefault("VLLM_PLUGINS", "")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    import vllm

    logging.getLogger("vllm").setLevel(logging.ERROR)  # it would warn of the settings above, which are chosen on purpose
    return vllm
