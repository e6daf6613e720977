"""The figures of the report: from ledger and evidence to charts with captions, in colours that colour-blind people can tell apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from ser_core.learn.evaluation.groups.accuracy import wilson
from ser_core.report.charts import Axis, Frame, count_axis, percent, round_axis
from ser_core.report.evidence import MAX_POINTS, Evidence, LoopEvidence, ModelEvidence
from ser_core.report.ledger import Ledger, Trained

COLOURS = 5
"""Loops drawn in one chart; of more, the first, the last and some between."""
MIN_GROUP = 20
"""Pairs below which a share is drawn hollow: it may be luck."""
_LABEL_ROOM = 118

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with what to read from it."""

    title: str
    svg: Markup
    caption: str
    legend: tuple[tuple[str, str], ...] = ()
    """(colour class, name)."""


def name_of(record: Trained) -> str:
    """A reward model in words."""
    return f"loop {record.key.iteration}" if record.key.iteration else "seed"


def evolution(ledger: Ledger) -> Figure:
    """Held-out accuracy by loop, dev accuracy, and the baselines as lines; 95 % intervals of all that was measured on held-out pairs."""
    models, controls = ledger.models, ledger.controls
    heldouts = [record.metrics.heldout for record in (*models, *controls.values())]
    levels = [(control.metrics.heldout.accuracy, name, f"c{number + 1}") for number, (name, control) in enumerate(controls.items())]
    levels.append((ledger.length_rule or 0.5, "longer answer", "c-quiet"))
    values = [value for heldout in heldouts for value in (heldout.accuracy_low, heldout.accuracy_high)]
    values += [model.metrics.dev.accuracy for model in models] + [level for level, _, _ in levels]
    last = max(models[-1].key.iteration, 1)
    end = last + 0.2 * (last + 1)
    loops = Axis("loop (0: the seed model)", -0.3, end, every(range(last + 1), 9))
    frame = Frame(loops, round_axis("accuracy", values, percent), right=_LABEL_ROOM)
    marks = [frame.levels(levels), frame.line([(m.key.iteration, m.metrics.dev.accuracy) for m in models], "c-quiet thin")]
    marks += [frame.line([(m.key.iteration, m.metrics.heldout.accuracy) for m in models], "c0")]
    for model in models:
        dev, heldout, at = model.metrics.dev, model.metrics.heldout, model.key.iteration
        marks.append(frame.dot((at, dev.accuracy), "c-quiet hollow", f"dev {dev.accuracy:.3f}, {dev.pairs} pairs", 3))
        marks.append(frame.whisker(at, heldout.accuracy_low, heldout.accuracy_high, "c0"))
        marks.append(frame.dot((at, heldout.accuracy), "c0", f"held-out {heldout.accuracy:.3f}, {heldout.pairs} pairs", 5))
    for number, control in enumerate(controls.values()):
        heldout, at_end = control.metrics.heldout, end - (0.03 + 0.04 * number) * (end + 0.3)
        marks.append(frame.whisker(at_end, heldout.accuracy_low, heldout.accuracy_high, f"c{number + 1}"))
    of_controls = ", those of the controls at the right end" if controls else ""
    chose = "Dev accuracy" if models[0].metrics.folds is None else "Out-of-fold log loss"
    caption = f"Whiskers: 95 % intervals on held-out pairs{of_controls}. {chose} chose the best loop; held-out accuracy was only read."
    return Figure("Accuracy by loop", frame.draw("Accuracy by loop", marks), caption, (("c0", "held-out"), ("c-quiet", "dev")))


def kept(loop: LoopEvidence, highest: int) -> Figure:
    """Self-labels by confidence: kept on dropped. ``highest``: pairs at the top of the axis, the same in all loops."""
    bands = [band for band in loop.bands if band.labeled]
    top = count_axis("pairs", highest, 4)
    middles = [place + 0.5 for place in range(len(bands))]
    places = Axis("confidence of the self-label", 0, len(bands) or 1, middles, lambda tick: bands[int(tick)].name)
    frame = Frame(places, top)
    marks = []
    for place, band in enumerate(bands):
        note = f"confidence {band.name}: {band.kept:,} of {band.labeled:,} kept"
        marks.append(frame.bar(place + 0.08, place + 0.92, 0, band.kept, "c0", note))
        marks.append(frame.bar(place + 0.08, place + 0.92, band.kept, band.labeled, "c-quiet", note))
    metrics, number = loop.record.metrics, loop.record.key.iteration
    limit = f", threshold {metrics.threshold:.3f}" if metrics.threshold is not None else ""
    caption = f"{metrics.kept:,} of {metrics.labeled:,} pairs kept ({percent(metrics.kept_fraction)}){limit}."
    chart = frame.draw(f"Pairs kept and dropped in loop {number} by confidence", marks)
    return Figure(f"Loop {number}", chart, caption, (("c0", "kept"), ("c-quiet", "dropped")))


def agreement(loops: Sequence[LoopEvidence]) -> Figure | None:
    """Agreement by confidence, one line a loop; None when no human label of the pool is known."""
    series = {
        f"loop {loop.record.key.iteration}": [
            (band.confidence, band.agreement, band.known)
            for band in loop.bands
            if band.confidence is not None and band.agreement is not None
        ]
        for loop in loops
    }
    caption = "Confidence as the rule computes it, the mean of each band."
    return _reliability("Agreement by confidence", "agreement", series, caption)


def calibration(models: Sequence[ModelEvidence]) -> Figure | None:
    """Held-out accuracy by confidence: the seed model and the best reward model."""
    series = {
        name_of(model.record): [(row["confidence"], row["accuracy"], row["count"]) for row in model.heldout["calibration"]]
        for model in models
    }
    caption = "Confidence: sigmoid(score difference / temperature), in ten equally filled bins; the temperature was fitted on the seed."
    return _reliability("Calibration on held-out pairs", "accuracy", series, caption)


def _reliability(title: str, label: str, series: Mapping[str, Sequence[tuple[float, float, int]]], caption: str) -> Figure | None:
    drawn = every([(name, points) for name, points in series.items() if points], COLOURS)
    if not drawn:
        return None
    spreads = [[wilson(round(share * count), count) for _, share, count in points] for _, points in drawn]
    lowest = min(0.5, *(low for each in spreads for low, _ in each))
    halves = Axis("confidence", 0.5, 1.0, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], percent)
    frame = Frame(halves, round_axis(label, [lowest, 1.0], percent))
    marks = [frame.diagonal()]
    for number, (name, points) in enumerate(drawn):
        aside = (number - (len(drawn) - 1) / 2) * 0.006  # whiskers of two loops would lie on each other
        marks.append(frame.line([(x + aside, y) for x, y, _ in points], f"c{number}"))
        for (x, y, count), (low, high) in zip(points, spreads[number], strict=True):
            marks.append(frame.whisker(x + aside, low, high, f"c{number} faint"))
            hollow = " hollow" if count < MIN_GROUP else ""
            marks.append(frame.dot((x + aside, y), f"c{number}{hollow}", f"{name}: {y:.3f} of {count:,} pairs at confidence {x:.2f}"))
    caption += " On the dashed line confidence and share are equal. Whiskers: 95 % intervals, as of independent pairs; "
    caption += f"hollow: fewer than {MIN_GROUP} pairs."
    return Figure(title, frame.draw(title, marks), caption, tuple((f"c{number}", name) for number, (name, _) in enumerate(drawn)))


def length_bias(models: Sequence[ModelEvidence]) -> Figure | None:
    """Accuracy where people chose the longer answer and where they chose the shorter one; None when no pair differs in length."""
    groups = {"chosenLonger": ("c1", "the longer answer is better"), "chosenShorter": ("c0", "the shorter answer is better")}
    rows = [
        (model, {row["relation"]: row for row in model.heldout["lengthRelation"] if row["relation"] in groups})
        for model in every(models, 12)
    ]
    values = [value for _, by in rows for row in by.values() for value in (row["low"], row["high"])]
    if not values:
        return None
    last = len(rows) - 1
    places = Axis("reward model", -0.5, last + 0.5, range(len(rows)), lambda tick: name_of(rows[int(tick)][0].record))
    frame = Frame(places, round_axis("held-out accuracy", values, percent))
    marks = []
    for place, (model, by) in enumerate(rows):
        for relation, row in by.items():
            x = place + (-0.08 if relation == "chosenLonger" else 0.08)
            colour = groups[relation][0]
            marks.append(frame.whisker(x, row["low"], row["high"], colour))
            note = f"{name_of(model.record)}: {row['accuracy']:.3f} of {row['pairs']:,} pairs"
            marks.append(frame.dot((x, row["accuracy"]), colour, note))
    caption = "Held-out accuracy with 95 % intervals. A model that only likes length is high on one kind of pair and low on the other."
    return Figure("Length bias", frame.draw("Accuracy by length relation", marks), caption, tuple(groups.values()))


def training_loss(models: Sequence[ModelEvidence]) -> Figure:
    """Training loss of the seed model and the loops."""
    drawn = every([model for model in models if model.losses], COLOURS)
    points = [point for model in drawn for point in model.losses] or [(0.0, 0.0)]
    frame = Frame(
        count_axis("optimizer step", max((step for step, _ in points), default=0)),
        round_axis("loss", [0, *(loss for _, loss in points)]),
    )
    marks = [frame.line(model.losses, f"c{number} thin") for number, model in enumerate(drawn)]
    caption = (
        f"Mean loss of the pairs in a step; of more than {MAX_POINTS} steps, means over stretches. "
        "Self-labelled pairs are easier than the seed's: do not compare the curves by height."
    )
    legend = tuple((f"c{number}", name_of(model.record)) for number, model in enumerate(drawn))
    return Figure("Training loss", frame.draw("Training loss by step", marks), caption, legend)


def every(items: Sequence[Item], most: int) -> list[Item]:
    """At most ``most`` of ``items``, evenly spread, first and last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def seed_and_best(ledger: Ledger, evidence: Evidence) -> tuple[ModelEvidence, ...]:
    """Evidence of the seed model and of the best one, which may be the same."""
    best = ledger.best.key if ledger.best else None
    return tuple(model for model in evidence.models if model.record.key.iteration == 0 or model.record.key == best)
