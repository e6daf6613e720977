"""What a model is taught beside the runs: human labels and self-labels, as `retrain` teaches them. Pure but for the training itself."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.reward_model import Quiet
from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.training import TrainingSpec
from ser_core.data.tables import LabeledPair, PoolPair
from ser_core.learn.compute.precision import Precision
from ser_core.learn.evaluation.collapse import why_dead
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.training import TrainingPair, count_steps, train
from ser_jobs.stages.retrain import REPEATED


@dataclass(frozen=True, slots=True)
class Label:
    """What is learnt of a pair of the pool."""

    better: int
    target: float = 1.0
    """Chance that it is the better answer."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """One pair to learn."""

    prompt: str
    better: str
    worse: str
    target: float = 1.0
    weight: float = 1.0


def of_people(pairs: Sequence[LabeledPair]) -> list[Lesson]:
    """The human labels, each with weight 1."""
    return [Lesson(pair.prompt, pair.chosen, pair.rejected) for pair in pairs]


def of_models(pool: Sequence[PoolPair], labels: Mapping[str, Label]) -> list[Lesson]:
    """The self-labels, in the order of the pool."""
    return [_labelled(pair, labels[pair.id]) for pair in pool if pair.id in labels]


def corrected(pairs: Sequence[LabeledPair], chances: Mapping[str, float], pool: int) -> list[Lesson]:
    """Human labels that also undo what the self-labels of the same pairs would teach (doubly robust, arXiv 2306.00265).

    The loss is the mean over seed and pool of that of the self-label π, minus its mean over the seed, plus the mean over the seed of
    that of the human label. The cross-entropy is linear in its target, so that one target says all three: π + (n + m) / n · (1 − π).

    Args:
        pairs: The n pairs of the seed.
        chances: π of each: the chance that models which have not seen it give to the human label.
        pool: m, the pairs of the pool, of which all are taught.
    """
    factor = (len(pairs) + pool) / len(pairs)
    return [
        replace(lesson, target=chances[pair.id] + factor * (1 - chances[pair.id]))
        for pair, lesson in zip(pairs, of_people(pairs), strict=True)
    ]


def with_gaps(lessons: Sequence[Lesson], share: float, seed: int) -> list[Lesson]:
    """The same, but each word of an answer is left out with the chance ``share``; an answer keeps at least one."""
    draw = random.Random(seed)

    def gaps(answer: str) -> str:
        words = answer.split(" ")
        return " ".join(word for word in words if draw.random() >= share) or draw.choice(words)

    return [replace(lesson, better=gaps(lesson.better), worse=gaps(lesson.worse)) for lesson in lessons]


def mismatched(pool: Sequence[PoolPair], seed: int) -> list[Lesson]:
    """For each prompt an answer to it, either one, before an answer to another prompt: needs no label."""
    draw = random.Random(seed)
    others = draw.sample(pool, len(pool))
    return [
        Lesson(pair.prompt, draw.choice((pair.answer_1, pair.answer_2)), other.answer_1)
        for pair, other in zip(pool, others, strict=True)
        if pair.prompt != other.prompt
    ]


def taught(base: Path, spec: SERRunSpec, lessons: Sequence[Lesson], first: Sequence[Lesson] = ()) -> RewardModel:
    """A reward model that has learnt the lessons, by the run's own settings; before them ``first``, once.

    As in a run, a training that has died is repeated in another order, at half the rate.
    """
    for times in range(REPEATED + 1):
        changed = {"seed": spec.training.seed + times, "learning_rate": spec.training.learning_rate / 2**times}
        model, died = _trained(base, spec, spec.training.model_copy(update=changed), lessons, first)
        if not died:
            break
    return model


def _trained(
    base: Path, spec: SERRunSpec, training: TrainingSpec, lessons: Sequence[Lesson], first: Sequence[Lesson]
) -> tuple[RewardModel, str]:
    settings = spec.reward_model
    model = load(base, Precision("cpu"), max_length=settings.max_length, seed=spec.training.seed, adapter=settings.adapter)
    died = ""
    for course, epochs in ((first, 1), (lessons, training.epochs)):
        if course:
            of_course = training.model_copy(update={"epochs": epochs})
            encoded = model.encoder.pairs(*zip(*((one.prompt, one.better, one.worse) for one in course), strict=True))
            rows = [TrainingPair(*both, one.target, one.weight) for both, one in zip(encoded, course, strict=True)]
            state = train(model, rows, of_course, steps=count_steps(len(rows), of_course), watch=Quiet())
            died = why_dead(state.history, of_course, [0.0] * len(rows))
    return model, died


def _labelled(pair: PoolPair, label: Label) -> Lesson:
    answers = (pair.answer_1, pair.answer_2) if label.better == 1 else (pair.answer_2, pair.answer_1)
    return Lesson(pair.prompt, *answers, label.target, label.weight)
