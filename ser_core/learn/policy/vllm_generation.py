"""vLLM as the generator: an optional package (extra ``vllm``) whose engine lives in the trainer's own process, beside the policy.

Every call gives the engine the policy's present weights first, and afterwards asks whether its answers came from them: an engine that
went on with old weights would look like a policy that does not learn. Its tokens alone are used, never its probabilities.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ser_core.errors import SpecError
from ser_core.learn.compute import ranks
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.policy import Policy

MEMORY_SHARE = 0.3
"""Of the device's memory, for the engine's copy of the weights and its cache; the trainer needs the rest (TRL's default as well)."""
LARGEST_DIFFERENCE = 0.1
"""Nats a token, mean over an answer, that rounding may bring between two arithmetics: fp32 was seen at 5e-7, bf16 was not tried."""


class VllmGenerator:
    """See `Generator`.

    Args:
        policy: Its network is what answers.
        folder: The model that the policy was loaded from; only its configuration is read.
        tokens: Longest prompt and longest answer together.
        memory_share: Of the device's memory, for the engine.

    Raises:
        SpecError: vLLM has no such model, or too little memory (``GeneratorRefused``).
    """

    def __init__(self, policy: Policy, folder: Path, *, tokens: int, memory_share: float = MEMORY_SHARE) -> None:
        self._policy = policy
        self._vllm = _import_vllm()
        try:
            self._engine = self._vllm.LLM(
                str(folder),
                load_format="dummy",  # the weights come from the policy
                # Of its own, a tied head is no special case when weights change; vLLM's CPU engine forgets it otherwise.
                hf_overrides={"tie_word_embeddings": False},
                skip_tokenizer_init=True,
                generation_config="vllm",  # the model's own would sample from another distribution than the one that learns
                dtype="float32" if policy.precision.autocast is None else "bfloat16",
                max_model_len=tokens,
                gpu_memory_utilization=memory_share,
                enable_prefix_caching=False,  # what was computed with old weights must not be met again
                enforce_eager=True,  # compiling needs a compiler, which the image does not have
                logprobs_mode="processed_logprobs",
                distributed_executor_backend="external_launcher" if ranks.count() > 1 else None,
            )
        except (ValueError, NotImplementedError) as error:
            raise SpecError(
                f"policy.generator: vLLM cannot run {policy.network.config.model_type}: {str(error).strip().splitlines()[-1]}",
                reason="GeneratorRefused",
                hint="use policy.generator: transformers, or mend what vLLM names",
            ) from error

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        """See `Generator.generate`.

        Raises:
            SpecError: The engine answers with other weights than the policy's (``GeneratorOutOfStep``).
        """
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": plain_weights(self._policy.network)})
        seeds = torch.randint(2**31, (len(prompts),)).tolist()  # so a run that goes on from a checkpoint samples the same
        found = self._engine.generate(
            [self._vllm.TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts],
            [self._sampling(tokens, temperature, seed) for seed in seeds],
            use_tqdm=False,
        )
        answers = [list(row.outputs[0].token_ids) for row in found]
        if prompts:  # of many processes one may have none
            self._check(prompts[0], answers[0], found[0].outputs[0].logprobs, temperature)
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
        apart = (told - own).abs().mean().item()
        if not apart <= LARGEST_DIFFERENCE:
            raise SpecError(
                f"policy.generator: vLLM {self._vllm.__version__} answers with other weights than the policy's: {apart:.3f} nats a token "
                f"apart, at most {LARGEST_DIFFERENCE} are rounding",
                reason="GeneratorOutOfStep",
                hint="use policy.generator: transformers, or another version of vLLM",
            )


@torch.no_grad()
def plain_weights(network: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and weights of the plain model, one after the other: an adapter is added to what it adapts, a tied head comes twice.

    Args:
        network: A transformers model, or one with a LoRA adapter of peft.
    """
    plain = network.get_base_model() if hasattr(network, "get_base_model") else network
    for name, weight in plain.named_parameters(remove_duplicate=False):
        layer, _, kind = name.rpartition(".")
        if ".lora_" in layer:
            continue
        plain_name = name.replace(".base_layer.", ".")
        if layer.endswith(".base_layer") and kind == "weight":
            adapted = plain.get_submodule(layer.removesuffix(".base_layer"))
            yield plain_name, weight + adapted.get_delta_weight(adapted.active_adapters[0])
        else:
            yield plain_name, weight.detach()


def _import_vllm() -> Any:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # in this process: weights are handed over as they are
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # else it reports this machine to its makers
    os.environ.setdefault("VLLM_PLUGINS", "")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    import vllm

    logging.getLogger("vllm").setLevel(logging.ERROR)  # it warns of what is chosen here on purpose
    return vllm
