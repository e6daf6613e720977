"""The base models of a run, tried before anything is spent: `ser validate` and the stage `prepare` load them without their weights.

transformers itself says what fits: it makes each network on the meta device, which has no memory, and gets the names and shapes of the
weights from the headers of their files. So its own renaming and merging of tensors counts, for every family that it knows.
"""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import AutoTokenizer

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.data.reading.dialogues.turns import turns_of
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import BaseModel, check_base_model, check_policy_base, named
from ser_core.data.reading.models.positions import row_limit
from ser_core.data.reading.models.weight_headers import Tensor
from ser_core.errors import DataError
from ser_core.learn.base_models.harm import (
    model_not_supported,
    refuse_far_tokens,
    refuse_odd_types,
    refuse_what_draws,
    refuse_what_grows,
    refuse_what_takes_too_much,
)
from ser_core.learn.base_models.kinds import SCORES, WITHOUT_BF16, WRITES, why_it_cannot_score, why_it_cannot_write
from ser_core.learn.compute.adapters import lora, refuse_odd_layers
from ser_core.learn.compute.parts import has_experts, linear_head
from ser_core.learn.policy.generation import encode_prompts
from ser_core.learn.policy.unread import unread_by
from ser_core.learn.reward.encoding import Encoder, reads_pairs
from ser_core.learn.text.chat_text import chat_text_of, take_template
from ser_core.learn.text.control_tokens import ControlTokens
from ser_core.learn.text.reference_text import form_of
from ser_core.learn.weights.fit import Loaded, other_heads
from ser_core.learn.weights.pretrained import FROM_THE_FOLDER_ALONE, last_token, load_without_weights, rows_for_tokens, told_of_the_model
from ser_core.memory.shape import ModelShape

_FEWEST_TOKENS = 16
"""As of ``rewardModel.maxLength``."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A base model without its weights."""

    model: BaseModel
    tensors: Mapping[str, Tensor]
    network: Any
    tokenizer: Any
    new: tuple[str, ...]
    """Parts that its files have no weights for."""
    warnings: tuple[str, ...]

    @property
    def shape(self) -> ModelShape:
        """Its sizes."""
        return self.model.shape(self.tensors)

    @property
    def longest_row(self) -> int:
        """Tokens of the longest row that it and its tokenizer allow."""
        return row_limit(self.model.config, self.tokenizer.model_max_length) - 1


def try_base_models(spec: SERRunSpec, access: Access, folder: Path) -> Iterator[Tried]:
    """The base of the reward model, then that of the policy where the run has one. Each is checked and tried before the next is read.

    Args:
        spec: Of the run.
        access: How stores and the hub are reached.
        folder: For their small files, in ``model`` and ``policy``, and for what is tried with them.

    Raises:
        SpecError: One cannot be used (`check_base_model`, `check_policy_base`, `try_reward_model`, `try_policy`).
        StoreError: Store or hub cannot be reached.
    """
    reward = try_reward_model(check_base_model(spec.reward_model, access, folder / "model"), spec.reward_model, folder / "model-trial")
    yield reward
    if spec.policy is not None:
        policy = try_policy(check_policy_base(spec.policy, access, folder / "policy"), spec.policy, reward, folder / "policy-trial")
        told = unread_by(spec.policy, spec.reward_model.max_length, reward.longest_row)
        yield replace(policy, warnings=(*policy.warnings, *told))


def try_reward_model(model: BaseModel, spec: RewardModelSpec, folder: Path) -> Tried:
    """Whether a base model can become the reward model.

    Args:
        model: The base model, its files checked.
        spec: What is asked of it.
        folder: For its configuration and its tokenizer; created.

    Raises:
        SpecError: transformers cannot score with its kind, its weights do not fit, or its tokenizer cannot be used (`BaseModel.tensors` and
            `load_network` name the reasons).
        StoreError: Store or hub cannot be reached.
    """
    field = "rewardModel.base"
    if (why := why_it_cannot_score(model)) is not None:
        raise model_not_supported(
            f"{field}: {spec.base} is a {model.model_type}, {why}",
            "name an encoder or decoder that AutoModelForSequenceClassification supports, for example a bert, llama or qwen3",
        )
    if spec.precision != "fp32" and model.model_type in WITHOUT_BF16:
        raise model_not_supported(
            f"rewardModel.precision {spec.precision}: {spec.base} is a {model.model_type}, which computes in fp32 alone",
            "set rewardModel.precision to fp32; or name a base of another kind, for example a deberta-v2",
        )

    def use(tokenizer: Any) -> None:
        _take_template(tokenizer, spec, field)
        Encoder(tokenizer, spec.max_length, form_of(spec.template)).rows(["a"], ["b"])

    tried = _try(model, SCORES, folder, field, use)
    _refuse_adapter(tried, spec, "SEQ_CLS", field)
    longest = tried.tokenizer.model_max_length
    if longest <= _FEWEST_TOKENS:
        raise model_not_supported(
            f"{field}: its tokenizer allows {longest} tokens (model_max_length), no room for a prompt and an answer",
            "set model_max_length in its tokenizer_config.json to what the model can read",
        )
    if spec.max_length <= longest:
        return tried
    cut = f"rewardModel.maxLength {spec.max_length}: its tokenizer allows {longest} (model_max_length), so rows are cut to {longest - 1}"
    return replace(tried, warnings=(*tried.warnings, cut))


def try_policy(model: BaseModel, spec: PolicySpec, reward: Tried, folder: Path) -> Tried:
    """Whether a base model can become the policy, and whether there can be a critic.

    Args:
        model: The base model, its files checked.
        spec: What is asked of it.
        reward: The reward model, which the critic best starts from.
        folder: For its configuration and its tokenizer; created.

    Raises:
        SpecError: It does not write from left to right, its weights do not fit, it has no end token, or there can be no
            critic where ``advantage`` asks for one.
        StoreError: Store or hub cannot be reached.
    """
    field = "policy.base"
    if (why := why_it_cannot_write(model)) is not None:
        raise model_not_supported(
            f"{field}: {spec.base} is a {model.model_type}, {why}",
            "name a decoder that AutoModelForCausalLM supports, for example a llama or qwen3",
        )

    def use(tokenizer: Any) -> None:
        _take_template(tokenizer, spec, field)
        encode_prompts(tokenizer, ["a"], tokens=spec.prompt_tokens)

    tried = _try(model, WRITES, folder, field, use)
    _refuse_adapter(tried, spec, "CAUSAL_LM", field)
    if tried.tokenizer.eos_token_id is None and (spec.sft is not None or not _ends(tried, folder)):
        raise model_not_supported(
            f"{field}: its tokenizer has no end-of-sequence token", "set eos_token in its tokenizer_config.json, or name another model"
        )
    if spec.advantage == "gae":
        _refuse_without_critic(tried, reward, spec.base, folder)
    return tried


def _try(model: BaseModel, kinds: Mapping[str, Any], folder: Path, field: str, use: Callable[[Any], object]) -> Tried:
    with named(field):
        tensors = model.tensors()
    refuse_odd_types(model.config, field)
    _copy_settings(model, folder)

    def load() -> tuple[Any, Loaded, Any]:
        network, loaded = _load(model, tensors, kinds, folder, field)
        with told_of_the_model(field, "its tokenizer cannot be loaded"):
            tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_THE_FOLDER_ALONE)
        with told_of_the_model(field, "its tokenizer cannot be used"):
            use(tokenizer)
        return network, loaded, tokenizer

    with _quiet():
        refuse_what_takes_too_much(load, field)
        network, loaded, tokenizer = load()
        refuse_what_grows(tokenizer, field)
        refuse_what_draws(tokenizer, field)
        refuse_far_tokens(network, tokenizer, field)
    warnings = (*_warnings(field, network, tokenizer, loaded.surplus), *_not_used(model, tensors, loaded, field))
    return Tried(model, tensors, network, tokenizer, loaded.new, warnings)


def _refuse_adapter(tried: Tried, spec: RewardModelSpec | PolicySpec, task: Literal["CAUSAL_LM", "SEQ_CLS"], field: str) -> None:
    if spec.adapter is not None:
        with named(field):
            refuse_odd_layers(tried.network, lora(spec.adapter, task))


def _take_template(tokenizer: Any, spec: RewardModelSpec | PolicySpec, field: str) -> None:
    """Give a base's tokenizer the template that is asked for."""
    text = spec.custom_text
    if spec.template == "reference":
        tokenizer.chat_template = None
        return
    asked = f"{field.partition('.')[0]}.template {spec.template}"
    if isinstance(spec, RewardModelSpec) and reads_pairs(tokenizer):
        raise model_not_supported(
            f"{asked}: {spec.base} reads prompt and answer as a text pair, since its tokenizer has a CLS and a SEP token",
            "leave rewardModel.template out, or name a decoder",
        )
    with named(asked):
        take_template(tokenizer, text, writes=isinstance(spec, PolicySpec))


def refuse_dialogues(tokenizer: Any, prompts: Iterable[str], field: str) -> None:
    """Refuse prompts that a chat template does not take, such as those with a system message.

    Args:
        tokenizer: A tried one (`Tried`).
        prompts: Rendered prompts; of those with turns of the same roles the first counts.
        field: Of the specification.

    Raises:
        DataError: ``BadTurns``.
    """
    chat = chat_text_of(tokenizer)
    if chat is None:
        return
    kinds = {tuple(turn.role for turn in turns_of(prompt)): prompt for prompt in prompts}
    for prompt in kinds.values():
        try:
            chat.prompt(prompt), chat.whole(prompt, "a")
            chat.refuse_what_it_leaves_out(prompt)
        except DataError as error:
            raise DataError(f"{field}: {error.message}", reason=error.reason, hint=error.hint) from error


def _load(model: BaseModel, tensors: Mapping[str, Tensor], kinds: Mapping[str, Any], folder: Path, field: str) -> tuple[Any, Loaded]:
    scores = kinds is SCORES
    options = {"num_labels": 1, "problem_type": "regression"} if scores else {}
    with told_of_the_model(field, "its weights cannot be read"):
        shapes = {name: torch.empty(tensor.shape, device="meta") for name, tensor in tensors.items()}
        return load_without_weights(_class_of(model, kinds), folder, shapes, field, new_head=scores, **options)


def _class_of(model: BaseModel, kinds: Mapping[str, Any]) -> Any:
    """The class that an auto class of transformers chooses."""
    names = kinds[model.model_type]
    names = [names] if isinstance(names, str) else list(names)
    wanted = model.config.get("architectures") or ()
    return getattr(transformers, next((name for name in names if name in wanted), names[0]))


def _copy_settings(model: BaseModel, folder: Path) -> None:
    """All files but the weights, under their own names."""
    downloads = folder / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    for name in model.settings:
        shutil.copyfile(model.location.fetch(name, downloads), folder / name)


def _warnings(field: str, network: Any, tokenizer: Any, surplus: tuple[str, ...]) -> Iterator[str]:
    rows = rows_for_tokens(network)
    if rows is not None and last_token(tokenizer) >= rows:
        yield f"{field}: its tokenizer has tokens up to number {last_token(tokenizer)}, its table {rows} rows: rows are added, at random"
    if found := ControlTokens(tokenizer).read_anyway():
        yield f"{field}: its tokenizer reads {', '.join(found[:3])} in prompts and answers as control tokens, not as text"
    if has_experts(network):
        yield f"{field}: in a mixture of experts the last bits of a row depend on the rest of its batch, also when a stage goes on"
    if surplus:
        yield f"{field}: its weights have more layers than config.json says, which are not used: {', '.join(surplus[:3])}"


def _not_used(model: BaseModel, tensors: Mapping[str, Tensor], loaded: Loaded, field: str) -> Iterator[str]:
    rows = {name: tensor.shape[0] for name, tensor in tensors.items() if len(tensor.shape) == 2}
    if found := other_heads(loaded, rows):
        head = " and ".join(loaded.new)
        yield f"{field}: its weights hold {', '.join(found[:3])}, a head that is not used: {head} starts at random"
    if "adapter_config.json" in model.location.sizes:
        merge = "merge it into the weights (peft: merge_and_unload, then save_pretrained) and name the result, if it is meant"
        yield f"{field}: beside its weights lies an adapter (adapter_config.json), which is not used: {merge}"


def _ends(tried: Tried, folder: Path) -> bool:
    own = transformers.GenerationConfig.from_pretrained(folder) if (folder / "generation_config.json").exists() else None
    found = (own or tried.network.generation_config).eos_token_id
    return found is not None and found != []


def _refuse_without_critic(policy: Tried, reward: Tried, base: str, folder: Path) -> None:
    """The critic starts from the reward model or from the policy (`ser_core.learn.policy.ppo.critic`): one of them must be able to."""
    if _can_be_critic(reward, policy.tokenizer.get_vocab()):
        return
    why = "transformers has no scoring model of that kind"
    if policy.model.model_type in SCORES:
        with _quiet():
            network, _ = _load(policy.model, policy.tensors, SCORES, folder, "policy.base")
        if linear_head(network) is not None:
            return
        why = "the scoring model of that kind has a head of several layers"
    raise model_not_supported(
        f"policy.base: {base} is a {policy.model.model_type}: {why}, so PPO's critic cannot start from it; "
        "nor can it start from rewardModel.base, which is no decoder with the policy's tokens",
        "set policy.advantage to rloo, which needs no critic; or name a policy of another kind, for example a llama or qwen3",
    )


def _can_be_critic(reward: Tried, vocabulary: Mapping[str, int]) -> bool:
    known = reward.tokenizer.get_vocab()
    return (
        why_it_cannot_write(reward.model) is None
        and linear_head(reward.network) is not None
        and all(known.get(token) == number for token, number in vocabulary.items())
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' reports and bars: what they say is in the errors."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
