"""What is measured, how much a case does, and what it has shown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a stage (or ``generate`` or ``reward-trainer``), a size, and how."""

    work: str
    size: str
    adapter: bool = False
    """Whether an adapter is trained."""
    offload: bool = False
    """Whether moments are in main memory, and in `ppo` what only scores, though the GPU has room for them."""
    vllm: bool = False
    """Whether vLLM generates for `ppo`."""

    @property
    def name(self) -> str:
        """Short, for the table."""
        return " ".join((self.work, self.size, *(way for way in ("adapter", "offload", "vllm") if getattr(self, way))))


@dataclass(frozen=True, slots=True)
class Load:
    """How much a case does."""

    prompt: int = 512
    answer: int = 256
    """Tokens of each."""
    pairs: int = 256
    steps: int = 4
    tokens_per_batch: int = 16_384
    per_step: int = 32
    """Pairs or answers of an optimizer step."""

    @property
    def row(self) -> int:
        """Tokens of one prompt with its answer."""
        return self.prompt + self.answer


SMOKE = Load(prompt=12, answer=8, pairs=16, steps=2, tokens_per_batch=256, per_step=4)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case has shown."""

    tokens_per_second: float
    share_of_peak: float | None
    """Of the GPU's bf16 operations; None: its peak is not known."""
    planned: float | None
    """Bytes of the GPU by the memory plan; None: the case is no stage."""
    reached: float | None
    """The most bytes that tensors took at a time; None without a GPU."""
