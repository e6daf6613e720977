"""How a policy is aligned with the best reward model. The docs under the fields are the manual (`kubectl explain`).

"N+" is arXiv 2403.17031, whose values are the defaults unless another source is named.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from ser_core.api.model import Model
from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.places import ColumnName, PlaceSpec
from ser_core.api.spec.template import Templated, TemplateKind, TemplateText
from ser_core.api.values.uris import ModelUri


class PromptColumns(Model):
    """Which column holds the prompts, where it is not called `prompt`. Other columns are ignored."""

    prompt: ColumnName
    """The prompt, as text or messages that end with the user's turn."""
    system: ColumnName | None = None
    """A system message, which is put in front of the prompt."""


class PromptsSpec(PlaceSpec):
    """Prompts that the policy answers while it learns."""

    columns: PromptColumns | None = None
    """Names of the columns; null for `prompt`, and `system` where there is one, or for what pairs answer."""


class SupervisedSpec(Model):
    """Supervised fine-tuning on the chosen answers of the seed, before PPO."""

    epochs: int = Field(default=1, ge=1, le=100)
    """Passes over the chosen answers of the seed. No label outside of the label budget is used."""
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    """Peak rate of AdamW, after a linear warm-up over 10 % of the steps; then it falls linearly to zero (TRL's default)."""
    answers_per_step: int = Field(default=16, ge=1, le=65536)
    """Answers in one optimizer step."""


class KlSpec(Model):
    """The KL penalty: it keeps the policy near the reference policy, which is the policy that PPO starts from."""

    coefficient: float = Field(default=0.05, ge=0, le=100)
    """Weight of the KL in the reward: logits of the reward model for each nat."""
    target: float | None = Field(default=None, gt=0, le=1000)
    """Wanted KL of a whole answer, in nats: the coefficient adapts to it (arXiv 1909.08593, section 2.2). Left out, it is fixed."""


class PolicySpec(Templated):
    """A policy that is aligned with the best reward model by PPO once the loops have ended, before the controls."""

    base: ModelUri
    """Causal language model to start from: `hf://organisation/name`, `s3://bucket/prefix`, or `file://` (only `ser run`), in
    safetensors."""
    revision: str | None = Field(default=None, min_length=1, max_length=200)
    """Branch, tag or commit on the hub. `prepare` resolves it to a commit, and every later stage reads the copy in the store."""
    prompts: PromptsSpec | None = None
    """Prompts to learn on. Left out: those of the pool. PPO never learns on the held-out prompts."""
    sft: SupervisedSpec | None = None
    """Fine-tune on the chosen answers of the seed first; null starts PPO from `base` itself."""
    adapter: AdapterSpec | None = None
    """LoRA settings of PPO, which then needs no second copy of the policy; null trains all weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """As `rewardModel.precision`. Probabilities and values are always computed in fp32."""
    template: TemplateKind = "reference"
    """The text in which the policy reads prompts and writes answers, as `rewardModel.template`; the two may differ."""
    template_text: TemplateText | None = None
    """The text of template `custom`, as `rewardModel.templateText`."""
    steps: int = Field(default=200, ge=1, le=100_000)
    """PPO steps. A sign of reward hacking ends PPO sooner and keeps the last good policy: answers that grow without limit, get very short
    or hardly vary; a KL that is too large; a falling score by the witness (the seed's reward model, from which PPO does not learn)."""
    rollouts_per_step: int = Field(default=128, ge=2, le=65536)
    """Rollouts, the answers that are sampled in a PPO step (512 in N+)."""
    advantage: Literal["gae", "rloo"] = "gae"
    """How good an answer is: `gae` asks a critic, which values every token (arXiv 1506.02438). `rloo` compares it with the other answers to
    its prompt (arXiv 2402.14740): no critic is loaded or trained, which takes about half of the memory."""
    answers_per_prompt: int = Field(default=1, ge=1, le=1024)
    """Rollouts to each prompt of a step; `rolloutsPerStep` is a multiple of it. `rloo` needs at least 2; 4 is usual."""
    prompt_tokens: int = Field(default=512, ge=1, le=131072)
    """Longest prompt. Longer ones lose their beginning."""
    answer_tokens: int = Field(default=128, ge=1, le=32768)
    """Longest answer."""
    temperature: float = Field(default=0.7, gt=0, le=10)
    """Sampling temperature of the answers."""
    generator: Literal["transformers", "vllm"] = "transformers"
    """What samples the answers: HF generate, or vLLM, which is faster on GPUs and takes 30 % of their memory for a copy of the policy and
    its cache. vLLM needs an image with the extra `vllm`."""
    learning_rate: float = Field(default=1e-6, gt=0, le=1)
    """Rate of the policy's Adam (OpenRLHF: 5e-7 to 1e-6; adapters can take ten times as much)."""
    critic_learning_rate: float = Field(default=9e-6, gt=0, le=1)
    """Rate of the critic's Adam (OpenRLHF). Without effect where `advantage` is `rloo`."""
    kl: KlSpec = KlSpec()
    """The KL penalty."""
    epochs: int = Field(default=4, ge=1, le=100)
    """Passes over the rollouts of a step."""
    minibatches: int = Field(default=1, ge=1, le=1024)
    """Optimizer steps in a pass."""
    missing_end_penalty: float = Field(default=1.0, ge=0, le=100)
    """Subtracted from the score of an answer that did not end within `answerTokens`, in logits (N+ sets such scores to -1)."""

    @property
    def row_tokens(self) -> int:
        """Tokens of the longest prompt with the longest answer."""
        return self.prompt_tokens + self.answer_tokens

    @model_validator(mode="after")
    def _answers_to_compare(self) -> Self:
        if self.advantage == "rloo" and self.answers_per_prompt < 2:
            raise ValueError("answersPerPrompt 1 leaves advantage rloo no answer to compare with: set it to 2 or more, for example 4")
        if self.rollouts_per_step % self.answers_per_prompt:
            raise ValueError(f"rolloutsPerStep {self.rollouts_per_step} is no multiple of answersPerPrompt {self.answers_per_prompt}")
        return self
