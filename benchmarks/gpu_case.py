"""One case of `benchmarks.gpu`, in a process of its own: a whole stage as it is shipped, or a peer, on random weights and random rows."""

import dataclasses
import importlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.random_models import SIZES, make_model
from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import InputRole, LabelMetrics, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.data.reading.models.weight_headers import shape_of_folder
from ser_core.data.tables import LabeledPair, PoolPair, write_table
from ser_core.memory.alignment import alignment_bytes
from ser_core.memory.learners import alignment_of, policy_training, reward_training
from ser_core.memory.plan import Models, StagePlan, plan
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import Sharding, training_bytes
from ser_core.store.objects.file import FileStore
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.manifest import Manifest, OutputFile
from ser_jobs.process.context import StageContext

_RUN = RunIdentity(namespace="benchmark", name="gpu", uid="gpu")
_PASSES = {"forward": 2, "adapter": 4, "all weights": 6}
"""Floating-point operations for each weight and token: a forward pass; with the backward pass of an adapter, or of all weights (Kaplan et
al. 2020, arXiv 2001.08361). Attention and what is computed again are not counted."""
_PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}
"""Dense bf16 operations a second, as the makers state them."""
_MODELS = {StageKind.LABEL: (InputRole.LABELER,), StageKind.PPO: (InputRole.BEST,)}
"""Inputs of a stage beside what is prepared."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz "


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


@dataclass
class Clock:
    """Keeps when a stage showed which progress; it is the stage's `Reporter`."""

    marks: list[tuple[float, int, int]] = field(default_factory=list)

    def progress(self, step: int, total: int, unit: str) -> None:
        """One more mark."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.marks.append((time.perf_counter(), step, total))

    def event(self, name: str, **fields: Any) -> None:
        """Not kept."""

    @property
    def rate(self) -> float:
        """Units a second. What comes before the first quarter warms up."""
        counted = [(when, step) for when, step, total in self.marks if 4 * step >= total]
        (began, first), (ended, last) = counted[0], counted[-1]
        return (last - first) / max(ended - began, 1e-9)


class Inputs(StageContext):
    """A context whose inputs lie in folders of this machine: a benchmark has no use for copies of them."""

    def fetch(self, role: InputRole, name: str) -> Path:
        """A table."""
        return self.workdir.parent / "tables" / name

    def fetch_folder(self, role: InputRole, folder: str) -> Path:
        """The one model, as reward model, policy and base."""
        return self.workdir.parent / "model"


def run_case(case: Case, folder: Path, load: Load) -> Measured:
    """Measure one case.

    Args:
        case: Which.
        folder: Of the models, by size; one that is missing is made.
        load: How much is done.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    place = folder / case.size
    if not (place / "model").exists():
        make_model(SIZES[case.size], place / "model", device)
        write_tables(place / "tables", load)
    shape = shape_of_folder(place / "model")
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    peers: Mapping[str, Callable[[], tuple[float, float]]] = {
        "generate": lambda: _generate(place / "model", load, device, vllm=False),
        "generate-hf": lambda: _generate_plainly(place / "model", load, device),
        "generate-vllm": lambda: _generate(place / "model", load, device, vllm=True),
        "reward-trainer": lambda: _reward_trainer(place, load, device),
    }
    planned = None
    if case.work in peers:
        tokens, passes = peers[case.work]()
    else:
        spec = spec_of(case, load)
        found = plan(case.work, spec, Models(shape, shape), spec.resources.ppo)
        assert found is not None
        if case.offload:
            found = in_main_memory(found, spec, shape)
        tokens, passes = _stage(case, spec, place, load, found if case.offload else None)
        planned = found.needs.total
    reached = float(torch.cuda.max_memory_allocated()) if device == "cuda" else None
    return Measured(tokens, share_of_peak(tokens * passes, shape, device_name()), planned, reached)


def device_name() -> str:
    """Name of the GPU, or what there is instead."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def share_of_peak(weight_passes: float, shape: ModelShape, device: str) -> float | None:
    """Share of a device's bf16 operations.

    Args:
        weight_passes: Tokens a second times floating-point operations for each weight and token.
        shape: Of the model.
        device: Its name; None is returned where its peak is not known.
    """
    peak = next((size for name, size in _PEAKS.items() if name in device), None)
    return None if peak is None else weight_passes * (shape.weights + shape.output) / peak


def spec_of(case: Case, load: Load) -> SERRunSpec:
    """The run that a case is a stage of."""
    adapter: dict[str, Any] | None = {} if case.adapter else None
    return SERRunSpec.model_validate(
        {
            "rewardModel": {"base": "hf://benchmark/model", "maxLength": 2 * load.row, "adapter": adapter},
            "data": {"source": {"uri": "hf://benchmark/data"}},
            "training": {"pairsPerStep": load.per_step, "tokensPerBatch": load.tokens_per_batch, "epochs": 1},
            "loop": {"rule": "paper"},
            "policy": {
                "base": "hf://benchmark/model",
                "adapter": adapter,
                "sft": {"epochs": 1, "answersPerStep": load.per_step},
                "steps": load.steps,
                "rolloutsPerStep": load.per_step,
                "promptTokens": load.prompt + 64,
                "answerTokens": load.answer,
                "generator": "vllm" if case.vllm else "transformers",
            },
            "resources": {stage: {"gpus": 1} for stage in ("label", "retrain", "sft", "ppo")},
            "storage": {"uri": "s3://benchmark/runs"},
        }
    )


def in_main_memory(found: StagePlan, spec: SERRunSpec, shape: ModelShape) -> StagePlan:
    """The plan of a training whose moments are in main memory, and in `ppo` what only scores."""
    sharding = Sharding(0, recompute=False, offload=True)
    if found.stage == "ppo":
        return replace(found, sharding=sharding, needs=alignment_bytes(alignment_of(spec, shape, shape, room=0), sharding, 1))
    training = reward_training(spec, shape) if found.stage == "retrain" else policy_training(spec, shape)
    return replace(found, sharding=sharding, needs=training_bytes(training, sharding, 1))


def passes_of(case: Case) -> float:
    """Operations for each weight and counted token of a stage. In `ppo` a counted token is one of a prompt or an answer: it is generated
    or read, scored, and passes through policy, reference and critic, then through both trainings."""
    train = _PASSES["adapter" if case.adapter else "all weights"]
    forward = _PASSES["forward"]
    return {"label": forward, "retrain": train, "sft": train, "ppo": 5 * forward + 2 * train}[case.work]


def write_tables(folder: Path, load: Load) -> None:
    """Random rows of one length, in all tables that stages read."""
    folder.mkdir(parents=True)
    draw = random.Random(0)

    def text(length: int) -> str:
        return "".join(draw.choices(_ALPHABET, k=length - 1)) + "z"

    labelled = [LabeledPair(f"{number}", text(load.prompt), text(load.answer), text(load.answer), "") for number in range(load.pairs)]
    pool = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, "") for pair in labelled]
    write_table(folder / "seed.parquet", LabeledPair, labelled[: load.steps * load.per_step])
    for name in ("dev", "heldout"):
        write_table(folder / f"{name}.parquet", LabeledPair, labelled[:4])
    write_table(folder / "pool.parquet", PoolPair, pool)


def _stage(case: Case, spec: SERRunSpec, place: Path, load: Load, forced: StagePlan | None) -> tuple[float, float]:
    """Tokens a second of a stage's own steps, and the operations for each weight and token. ``forced``: a plan that it must carry out."""
    kind = StageKind(case.work)
    workdir = place / f"work-{time.monotonic_ns()}"
    workdir.mkdir()
    clock, store = Clock(), FileStore(place / "store")
    stage = StageSpec(run=_RUN, stage=kind, iteration=int(kind is StageKind.LABEL), attempt=1, spec=spec, threads=8)
    inputs = dict.fromkeys((InputRole.PREPARED, *_MODELS.get(kind, ())), _manifest())
    context = Inputs(stage, store, inputs, workdir, clock, lambda: False, CheckpointStore(store, _RUN, time.monotonic_ns(), kind))
    module: Any = importlib.import_module(f"ser_jobs.stages.{case.work}")
    if forced is not None:
        module.refuse_what_does_not_fit = lambda *_: forced
    module.body(context)
    rows = {"label": 2, "retrain": 2, "sft": load.per_step, "ppo": load.per_step}[case.work]
    return clock.rate * rows * load.row, passes_of(case)


def _manifest() -> Manifest:
    part = OutputFile(key="benchmark/gpu/gpu/none", size=0, sha256="")
    names = ("seed.parquet", "dev.parquet", "heldout.parquet", "pool.parquet")
    return Manifest(
        run=_RUN,
        stage=StageKind.PREPARE,
        iteration=0,
        attempt=1,
        writer="",
        inputs={},
        outputs=dict.fromkeys(names, part),
        metrics=LabelMetrics(labeled=0, truncated=0),
        code_version="0",
        seed=0,
        threads=1,
        started_at="",
        finished_at="",
    )


def _prompts(load: Load) -> Sequence[Sequence[int]]:
    draw = random.Random(0)
    return [[draw.randrange(26) for _ in range(load.prompt)] for _ in range(load.per_step)]


def _generate(model: Path, load: Load, device: str, *, vllm: bool) -> tuple[float, float]:
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
    return _answers_per_second(lambda: generator.generate(_prompts(load), tokens=load.answer, temperature=1.0)), _PASSES["forward"]


def _generate_plainly(model: Path, load: Load, device: str) -> tuple[float, float]:
    """Tokens a second of transformers' own generate, weights in bf16."""
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    network = network.to(device).eval()
    prompts = torch.tensor(_prompts(load), device=device)

    def generate() -> list[list[int]]:
        found = network.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=load.answer, do_sample=True, top_k=0)
        return [row[load.prompt :].tolist() for row in found]

    return _answers_per_second(generate), _PASSES["forward"]


def _answers_per_second(generate: Callable[[], Sequence[Sequence[int]]]) -> float:
    """Answer tokens a second; the first call warms up."""
    generate()
    began = time.perf_counter()
    count = sum(map(len, generate()))
    return count / (time.perf_counter() - began)


def _reward_trainer(place: Path, load: Load, device: str) -> tuple[float, float]:
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
    return 2 * load.row * len(data) / (time.perf_counter() - began), _PASSES["all weights"]


def as_json(measured: Measured) -> dict[str, Any]:
    """Plain values."""
    return dataclasses.asdict(measured)
