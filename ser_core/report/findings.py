"""What a run found, in sentences and paired comparisons: nothing is claimed that was not measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ser_core.api.stage import Evaluation
from ser_core.api.status import Phase
from ser_core.data.preparing.split_warnings import grouped
from ser_core.learn.evaluation.evaluation import right_by_id
from ser_core.learn.evaluation.groups.bootstrap import difference_of
from ser_core.learn.trust.enough_pairs import size_warnings
from ser_core.loop.deciding.coin import against
from ser_core.loop.deciding.significance import SIGNIFICANT, p_text
from ser_core.loop.deciding.stopping import beside_a_coin, loss_change
from ser_core.report.evidence import Evidence, ModelEvidence
from ser_core.report.ledger import Ledger, Trained

CONTROLS = {
    "full": "trained on all labels",
    "seedOnly": "trained on the seed alone, for as many steps",
    "pseudoLabelOnce": "all pairs labelled once, unfiltered",
}

SEED_EXPORT = "ser export RUN FOLDER --loop 0"
_DIGITS = 6
"""Of a difference, so that 0.8875 - 0.8 is 8.75 points and not a little less."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A reward model, mostly the best one, beside another one on the same held-out pairs."""

    name: str
    meaning: str
    accuracy: float
    difference: float
    """Accuracy of the best minus this one's."""
    only_best: int
    """Pairs that only the best gets right."""
    only_other: int
    low: float
    """Lower end of the 95 % interval of the difference."""
    high: float
    p_value: float
    """Two-sided, by the randomization test over groups of pairs."""

    @property
    def significant(self) -> bool:
        """Whether chance alone would rarely give such a difference (5 %)."""
        return self.p_value < SIGNIFICANT


def contrasts(ledger: Ledger, evidence: Evidence) -> tuple[Contrast, ...]:
    """The best reward model beside the seed model and every control; empty before there is a best one."""
    best = next((model for model in evidence.models if ledger.best is not None and model.record.key == ledger.best.key), None)
    if best is None:
        return ()
    others = [("seed", "before any loop", evidence.models[0])] if best.record.key.iteration else []
    others += [(name, CONTROLS[name], control) for name, control in evidence.controls.items()]
    return tuple(_contrast(name, meaning, best, other, evidence.groups or {}) for name, meaning, other in others)


def _contrast(name: str, meaning: str, best: ModelEvidence, other: ModelEvidence, groups: Mapping[str, str]) -> Contrast:
    of_best, of_other = right_by_id(best.pairs), right_by_id(other.pairs)
    found = difference_of(of_best, of_other, groups)
    only_best = sum(right and not of_other[pair] for pair, right in of_best.items())
    only_other = sum(right and not of_best[pair] for pair, right in of_other.items())
    accuracy, difference = other.record.metrics.heldout.accuracy, round(found.mean, _DIGITS)
    return Contrast(name, meaning, accuracy, difference, only_best, only_other, found.low, found.high, found.p_value)


def told(model: Trained) -> str:
    """A reward model as sentences name it."""
    return f"the reward model of loop {model.key.iteration}" if model.key.iteration else "the seed model"


def of_another(ledger: Ledger, evidence: Evidence, model: Trained) -> tuple[str, ...]:
    """What was measured of a reward model that is not the best one, most important first."""
    best, heldout = ledger.best_model(), model.metrics.heldout
    this, chosen = (next(one for one in evidence.models if one.record.key == record.key) for record in (model, best))
    return (
        f"This is {told(model)}, which the run has not chosen: its best one is {told(best)}.",
        f"It {_share(model)}.",
        _contrast_sentence(_contrast("best", "", this, chosen, evidence.groups or {})),
        "Where somebody has chosen it by these pairs, its accuracy on them is a little too good.",
        _length_sentence(heldout),
    )


def headline(ledger: Ledger, found: tuple[Contrast, ...]) -> tuple[str, ...]:
    """What was measured, most important first."""
    best = ledger.best
    if best is None:
        return (f"No reward model has been evaluated yet: the run is {ledger.run.status.phase}.",)
    heldout = best.metrics.heldout
    keeps_seed = ledger.run.spec.storage.retain == "all"
    return (_best_sentence(ledger, best), *(_contrast_sentence(one, keeps_seed=keeps_seed) for one in found), _length_sentence(heldout))


def _best_sentence(ledger: Ledger, best: Trained) -> str:
    share = _share(best)
    if best.key.iteration:
        return f"The best reward model, that of loop {best.key.iteration}, {share}.{_chosen_by(ledger, best)}"
    loops = ledger.models[1:]
    if not loops:
        return f"The seed model {share}."
    none = "Its loop did not" if len(loops) == 1 else f"None of {len(loops)} loops"
    held = " with a model that holds" if any(one.metrics.collapsed for one in loops) else ""
    return f"The seed model {share}. {none} beat it on the dev pairs{held}."


def _share(model: Trained) -> str:
    """How often a reward model is right, and what speaks against it."""
    heldout = model.metrics.heldout
    share = f"is right on {percent(heldout.accuracy)} of {heldout.pairs:,} held-out pairs (95 % interval {spread(heldout)})"
    doubt = doubts(model)
    return f"{share}; it {doubt}" if doubt else share


def doubts(model: Trained) -> str:
    """What speaks against a reward model, after "it"; empty: nothing."""
    heldout = model.metrics.heldout
    return against(heldout.accuracy, heldout.accuracy_low, heldout.accuracy_high, collapsed=model.metrics.collapsed)


def _chosen_by(ledger: Ledger, best: Trained) -> str:
    """What the choice of a model rests on: that it is the first one that holds, or, of a cross-fitted one, its log loss."""
    metrics = best.metrics
    if not metrics.collapsed and all(one.metrics.collapsed for one in ledger.models if one.key.iteration < best.key.iteration):
        return " It was chosen since no model before it holds."
    if metrics.loss_gain is None:
        return ""
    change = loss_change(metrics.loss_gain, metrics.loss_gain_error or 0.0)
    loss = f"out-of-fold log loss{beside_a_coin(metrics.dev)}"
    chosen = f"It was chosen by {metrics.dev.pairs:,} labels: its {loss} is {change} than that of the best model before it."
    return f" {chosen} A later loop is taken unless it is clearly worse."


def _contrast_sentence(contrast: Contrast, *, keeps_seed: bool = False) -> str:
    name = {"seed": "The seed model", "best": "The best one"}.get(contrast.name, f"The control {contrast.name} ({contrast.meaning})")
    points = abs(contrast.difference) * 100
    if points < 0.05:
        return f"{name} reaches as much."
    verdict = "significant" if contrast.significant else "not significant, so it may be chance"
    remedy = f" To export it: {SEED_EXPORT}." if keeps_seed and contrast.name == "seed" and contrast.difference < 0 else ""
    return (
        f"{name} reaches {percent(contrast.accuracy)}, {points:.1f} points {'more' if contrast.difference < 0 else 'less'}; "
        f"the difference is {verdict} ({p_text(contrast.p_value)}).{remedy}"
    )


def _length_sentence(heldout: Evaluation) -> str:
    more = ", which is more" if heldout.length_only_accuracy > heldout.accuracy else ""
    return f"The rule “the longer answer wins” reaches {percent(heldout.length_only_accuracy)} on the same pairs{more}."


def gap_closed(evidence: Evidence, found: tuple[Contrast, ...]) -> float | None:
    """Share of the way from the seed model to all labels that the loops covered; None unless both ends were measured and lie apart by
    more than chance: of a shorter way any share is chance.
    """
    by_name = {contrast.name: contrast for contrast in found}
    if not {"seed", "full"} <= by_name.keys():
        return None
    way = _contrast("full", "", evidence.controls["full"], evidence.models[0], evidence.groups or {})
    return by_name["seed"].difference / way.difference if way.significant and way.difference > 0 else None


def caveats(ledger: Ledger) -> Iterator[str]:
    """What a reader must know before quoting a number: general limits, then what the stages themselves noted."""
    if ledger.run.status.phase is not Phase.COMPLETED:
        yield f"The run is {ledger.run.status.phase}: {ledger.run.status.message or 'numbers may still change'}."
    yield "Intervals and p-values know one split and one seed of the training; p-values are not corrected for several comparisons."
    yield _undecided(ledger)
    yield from (f"{record.key}: {looked.told}." for record in ledger.stages.values() if (looked := record.manifest.take_over) is not None)
    if ledger.prepared is not None:
        found = ledger.prepared.metrics
        taken = ledger.models[0].metrics.steps if ledger.models else None
        yield from (f"data: {warning}" for warning in (*found.warnings, *size_warnings(ledger.run.spec, found, taken=taken)))
    for record in ledger.filters:
        yield from (f"{record.key}: {note}" for note in record.metrics.notes)
    for seed in ledger.models[:1]:
        if seed.metrics.learning_rate is not None:
            settings = f"learningRate {seed.metrics.learning_rate:g} and epochs {seed.metrics.epochs}"
            yield f"training.search found {settings}; the out-of-fold log loss of the best of several is a little too good."
    for trained in (*ledger.models, *ledger.controls.values()):
        pairs = trained.metrics.seed_pairs + trained.metrics.self_labeled_pairs
        if trained.metrics.truncated:
            yield f"{trained.key}: {trained.metrics.truncated:,} of {pairs:,} training pairs were cut to rewardModel.maxLength."
        yield from (f"{trained.key}: {note}" for note in trained.metrics.notes)


def _undecided(ledger: Ledger) -> str:
    """Which labels decide nothing. The control ``full`` learns from hidden ones, and is chosen by nobody."""
    if ledger.prepared is None or not ledger.prepared.metrics.hidden_labels:
        return "Held-out labels decide nothing: they were read for this report only."
    learnt = "; the control full has learnt from the hidden ones" if "full" in ledger.controls else ""
    return f"Held-out labels and hidden labels of the pool decide nothing: they were read for this report only{learnt}."


def of_groups(ledger: Ledger) -> list[str]:
    """What intervals of held-out accuracies rest on, where it is not each pair for itself."""
    if not ledger.models:
        return []
    heldout = ledger.models[-1].metrics.heldout
    if heldout.groups is None:
        return ["intervals of accuracies treat pairs as independent: an earlier version has evaluated them, or prepared the data"]
    return grouped(heldout.pairs, heldout.groups, ledger.run.spec.data.group_by)


def spread(evaluation: Evaluation) -> str:
    """A 95 % interval in percent."""
    return f"{evaluation.accuracy_low * 100:.1f} to {evaluation.accuracy_high * 100:.1f} %"


def percent(value: float | None, absent: str = "") -> str:
    """A share in percent; ``absent`` where there is none."""
    return absent if value is None else f"{value * 100:.1f} %"
