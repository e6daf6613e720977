"""The policy in the report: its curves, and what PPO did in sentences."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ser_core.api.stage import PolicyMetrics
from ser_core.counted import counted
from ser_core.data.tables import PolicyStep
from ser_core.loop.text import decimals
from ser_core.report.charts import Frame, Point, count_axis, round_axis
from ser_core.report.evidence import MAX_POINTS, PolicyEvidence, thinned
from ser_core.report.figures import Figure
from ser_core.report.findings import doubts
from ser_core.report.ledger import Ledger


def figures(evidence: PolicyEvidence) -> list[Figure]:
    """Score, KL and length by PPO step, and the loss of the supervised fine-tuning where there was one."""
    steps = evidence.steps
    drawn = [_scores(evidence), _kl(steps), _length(steps)]
    if evidence.losses:
        title = "Loss of the supervised fine-tuning"
        caption = "Mean over an answer's tokens, on the chosen answers of the seed."
        drawn.append(_one_line(title, evidence.losses, "nats a token", "optimizer step", caption))
    return drawn


def _scores(evidence: PolicyEvidence) -> Figure:
    metrics, steps = evidence.record.metrics, evidence.steps
    lines = {
        "c0": ("best reward model", _curve(steps, lambda step: step.score)),
        "c1": ("witness (the seed's reward model)", _curve(steps, lambda step: step.witness_score)),
    }
    lines = {colour: line for colour, line in lines.items() if line[1]}
    ends = [(0.0, metrics.before.score, "before"), (float(metrics.kept_step), metrics.after.score, "after")]
    values = [value for _, points in lines.values() for _, value in points] + [score for _, score, _ in ends]
    frame = Frame(count_axis("PPO step", len(steps)), round_axis("mean score (logits)", values))
    marks = [frame.line(points, colour) for colour, (_, points) in lines.items()]
    marks += [
        frame.dot((x, score), "c0 hollow", f"{name}, {counted(metrics.heldout_prompts, 'held-out prompt')}: {score:.3f}", 5)
        for x, score, name in ends
    ]
    title = "Score by PPO step"
    caption = f"Mean raw score of the rollouts. Circles: on held-out prompts, before and after PPO.{_averaged(steps)}"
    return Figure(title, frame.draw(title, marks), caption, tuple((colour, name) for colour, (name, _) in lines.items()))


def _kl(steps: Sequence[PolicyStep]) -> Figure:
    caption = f"Mean over the rollouts of log policy − log reference policy, summed over the answer.{_averaged(steps)}"
    return _one_line("KL from the reference policy", _curve(steps, lambda step: step.kl), "KL (nats an answer)", "PPO step", caption)


def _length(steps: Sequence[PolicyStep]) -> Figure:
    caption = f"Mean length of the rollouts, end token included. Unlimited growth is a sign of reward hacking.{_averaged(steps)}"
    return _one_line("Length of answers", _curve(steps, lambda step: step.answer_tokens), "tokens an answer", "PPO step", caption)


def _averaged(steps: Sequence[PolicyStep]) -> str:
    return " A point is the mean of a stretch of steps." if len(steps) > MAX_POINTS else ""


def _one_line(title: str, points: Sequence[Point], label: str, steps: str, caption: str) -> Figure:
    frame = Frame(
        count_axis(steps, max((x for x, _ in points), default=0)),
        round_axis(label, [0.0, *(y for _, y in points)]),
    )
    return Figure(title, frame.draw(f"{title} by step", [frame.line(points, "c0")]), caption)


def _curve(steps: Sequence[PolicyStep], number: Callable[[PolicyStep], float | None]) -> tuple[Point, ...]:
    """The numbers by step, those that are not finite left out."""
    known = [(step.step, value) for step in steps if (value := number(step)) is not None and math.isfinite(value)]
    return thinned(np.array([step for step, _ in known]), np.array([value for _, value in known]))


def sentences(ledger: Ledger) -> Iterator[str]:
    """What PPO did, as it was measured; nothing where there is no policy."""
    if ledger.policy is None:
        return
    metrics = ledger.policy.metrics
    before, after = metrics.before, metrics.after
    yield (
        f"PPO took the policy's mean score by the best reward model from {decimals(before.score)} to {decimals(after.score)} logits on "
        f"{counted(metrics.heldout_prompts, 'held-out prompt')} ({_interval(metrics)})."
    )
    if before.witness_score is not None and after.witness_score is not None:
        yield (
            f"The witness (the seed's reward model, from which PPO does not learn) gave {decimals(before.witness_score)} before and "
            f"{decimals(after.witness_score)} after."
        )
    different = ""
    if before.distinct is not None and after.distinct is not None:
        different = f"; {after.distinct * 100:.0f} % are different ones (before {before.distinct * 100:.0f} %)"
    yield (
        f"The KL from the reference policy is {decimals(after.kl)} nats. Of the answers, {after.ended * 100:.0f} % end by themselves "
        f"(before {before.ended * 100:.0f} %), after {after.answer_tokens:.0f} tokens on average (before {before.answer_tokens:.0f})"
        f"{different}."
    )
    if metrics.stopped:
        yield (
            f"PPO was stopped after step {metrics.steps} by a sign of reward hacking ({metrics.stopped}); "
            f"the policy after step {metrics.kept_step} was kept."
        )


def _interval(metrics: PolicyMetrics) -> str:
    if metrics.change_low is None or metrics.change_high is None:
        return "no interval: one prompt does not tell what is chance"
    chance = "" if metrics.change_low > 0 or metrics.change_high < 0 else ", which may be chance"
    return f"95 % interval of the change {metrics.change_low:+.2f} to {metrics.change_high:+.2f}{chance}"


def caveats(ledger: Ledger) -> Iterator[str]:
    """What a reader must know about the policy's numbers."""
    if ledger.policy is None:
        return
    yield "The policy was judged by the reward model that it learnt from; whether people prefer its answers was not measured."
    if ledger.best is not None and (told := doubts(ledger.best)):
        yield f"That reward model {told}; then the policy has learnt its errors alone."
    yield from (f"{ledger.policy.key}: {note}" for note in ledger.policy.metrics.notes)
