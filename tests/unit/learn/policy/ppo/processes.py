"""One process of a group that aligns a policy; an own module, so that a new process can import it."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import distributed
from unit.learn.policy.doubles import END, Watch, prompts

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import Interrupted
from ser_core.learn.compute import ranks
from ser_core.learn.compute.pieces import cut_layers, cut_weights
from ser_core.learn.compute.precision import Precision, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.compute.whole_copy import WholeCopy
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.generation import CopyGenerator, TransformersGenerator
from ser_core.learn.policy.policy import Policy, load_policy
from ser_core.learn.policy.ppo import checkpoint
from ser_core.learn.policy.ppo.critic import critic_from_policy
from ser_core.learn.policy.ppo.guards import HackingLimits, Limits
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.policy.ppo.state import SavedState
from ser_core.learn.policy.scorers import RewardModelScorer
from ser_core.learn.reward.reward_model import load
from ser_core.memory.training import Sharding

RATE = 1e-3
STEPS = 3
SETTINGS = Settings(
    answers_per_step=7,  # the processes have different shares; four of them have minibatches without a row
    answer_tokens=6,
    tokens_per_batch=60,
    epochs=1,
    minibatches=2,
    policy_rate=RATE,
    critic_rate=RATE,
    kl_target=0.1,
    kl_horizon=20.0,
    step_kl_limit=None,
    ladder=Limits(skips=0, roll_backs=2),
    hacking=HackingLimits(window=2, kl=1e9),
)
CHANGES: dict[str, dict[str, object]] = {
    "": {},
    "rloo": {"advantage": "rloo", "answers_per_step": 8, "answers_per_prompt": 4},
    "too far": {"step_kl_limit": 1e-5},
}


@dataclass(frozen=True)
class Case:
    """One alignment by all processes."""

    name: str
    policy: Path
    reward: Path
    stage: int = 0
    adapter: bool = False
    pieces: bool = False
    """Whether layers are never whole together: those below adapters, or all; and those of models that only score."""
    offload: bool = False
    """Whether moments, and models that only score, are in main memory."""
    changes: str = ""
    """Of the settings, by name."""
    recompute: bool = False
    poisoned: bool = False
    """Scores of the fourth step are not finite."""
    stop: bool = False
    """Whether rank 1 asks to stop after two steps."""
    steps: int = STEPS
    resume: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What one process saw of it."""

    weights: dict[str, torch.Tensor]
    """Of the policy in the end."""
    saved: SavedState | None
    """The last checkpoint."""
    history: tuple[StepMetrics, ...]
    copied: list[float]
    """What a whole copy of the policy computed at each step."""
    stopped: bool
    plain: bool
    """Whether the policy is an ordinary network in the end."""
    held_once: bool = False
    """Whether all pieces of the critic are the policy's."""
    sampled: list[list[int]] = field(default_factory=list)
    """What the policy answers in the end, prompt by prompt; rank 0 has one prompt more than the others."""


class Probe:
    """Answers that are known, another for each row; and a number that the network computes, which is the same for equal weights."""

    def __init__(self, policy: Policy, network: torch.nn.Module) -> None:
        self._policy = replace(policy, network=network)
        self.found: list[float] = []

    def generate(self, asked: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        with torch.no_grad():
            self.found.append(self._policy.log_probabilities(sequences([[3, 4]], [[5, 6, 7]], "cpu"), temperature).sum().item())
        rows = range(ranks.rank(), ranks.count() * len(asked), ranks.count())
        answers = [[row + 1, *range(2, len(prompt)), END] if len(prompt) > 1 else [] for row, prompt in zip(rows, asked, strict=False)]
        return [answer[:tokens] for answer in answers]


class StopsAfter(Watch):
    """Asks to stop after two steps, if it is told to."""

    def __init__(self, *, stop: bool) -> None:
        super().__init__(always_due=not stop)
        self._stop = stop

    def stopping(self) -> bool:
        return self._stop and len(self.metrics) == 2


class Varied:
    """Scores like a reward model, and by the letters of an answer: the model knows too few words. Nothing is finite in one step."""

    def __init__(self, scorer: RewardModelScorer, poisoned_step: int | None) -> None:
        self._scorer = scorer
        self._left = poisoned_step or 0

    def scores(self, asked: Sequence[str], answers: Sequence[str]) -> Sequence[float]:
        found = self._scorer.scores(asked, answers) + [sum(map(ord, answer)) % 7 / 3 for answer in answers]
        self._left -= 1
        return [math.nan for _ in found] if self._left == 0 else found


def aligned(case: Case, rank: int = 0) -> Outcome:
    """Align as the case says, in this process's group or alone."""
    precision, cut = Precision("cpu"), case.stage == 3 and not case.pieces
    adapter = AdapterSpec(rank=2, alpha=4) if case.adapter else None
    policy = replace(
        load_policy(case.policy, precision, adapter=adapter, cut=cut, offload=case.offload, in_pieces=case.pieces), end_tokens=(END,)
    )
    settings, beside = replace(SETTINGS, **CHANGES[case.changes]), policy.network if case.pieces else None
    critic = critic_from_policy(case.policy, precision, adapter=adapter, beside=beside) if settings.advantage == "gae" else None
    if rank and critic is not None:  # a process that starts from other weights gets those of rank 0
        torch.nn.init.ones_(next(weight for name, weight in critic.network.named_parameters() if "score" in name))
    copy = WholeCopy(policy.network, precision) if cut else None
    probe = Probe(policy, copy.network if copy else policy.network)
    judge = load(case.reward, precision, max_length=64, frozen=True, together=case.pieces)
    if case.pieces:
        cut_layers(judge.network, "cpu")
    scorer = RewardModelScorer(judge, 64 if case.pieces else 512, cut=cut, offload=case.offload)
    watch = StopsAfter(stop=case.stop and rank == min(1, ranks.count() - 1))
    history: tuple[StepMetrics, ...] = ()
    try:
        history = align(
            policy,
            critic,
            CopyGenerator(copy, probe) if copy else probe,
            prompts(3, 9, 1, 5, 12),
            Varied(scorer, 4 if case.poisoned else None),
            settings,
            steps=case.steps,
            watch=watch,
            resume=checkpoint.read(case.resume) if case.resume else None,
            sharding=Sharding(case.stage, case.recompute, case.pieces, case.offload),
        ).state.history
    except Interrupted:
        return Outcome({}, watch.saved[-1], (), probe.found, stopped=True, plain=True)
    cut_here, of_critic = cut_weights(policy.network), {} if critic is None else cut_weights(critic.network)
    weights = {name: weight.detach().clone() for name, weight in policy.network.named_parameters()}
    weights |= {name: cut.whole() for name, cut in cut_here.items()}
    plain = all(type(weight) is torch.nn.Parameter and not hasattr(weight, "ds_id") for weight in policy.network.parameters())
    held_once = bool(of_critic) and all(one.piece is cut_here[name].piece for name, one in of_critic.items())
    saved = watch.saved[-1] if watch.saved else None
    torch.manual_seed(rank)
    generator = TransformersGenerator(policy.network, pad_token=END, end_tokens=(END,), device="cpu", rows=1)
    sampled = generator.generate([[3, 4, 5], [6]][: 1 if rank else 2], tokens=5, temperature=1.0)
    return Outcome(weights, saved, history, probe.found, stopped=False, plain=plain, held_once=held_once, sampled=sampled)


def process(rank: int, count: int, port: int, cases: list[Case], folder: Path) -> None:
    """Align in all cases together with the others, and write down what came out."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    set_up_process(threads=1)
    with process_group():
        for case in cases:
            outcome = aligned(case, rank)
            torch.save(outcome, folder / f"{case.name}-{rank}.pt")
            keep(outcome, folder / case.name / (f"rank-{rank}" if rank else ""))
            distributed.barrier()


def keep(outcome: Outcome, folder: Path) -> None:
    """Write the last checkpoint down, for another alignment to resume from."""
    if outcome.saved is not None:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write(outcome.saved, folder)
