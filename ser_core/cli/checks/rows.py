"""A sample of the pairs as the reward model will read them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ser_core.api.serrun import SERRun
from ser_core.cli.checks.check import Check
from ser_core.cli.checks.model import base_model_trial
from ser_core.counted import counted

if TYPE_CHECKING:
    from ser_core.learn.reward.sample import Part, Sample

_MANY_CUT = 0.1
"""Share of cut pairs above which it is a warning."""
_MANY_UNKNOWN = 0.5
"""The same of tokens that stand for unknown text."""
_MANY_ALIKE = 0.1
"""The same of pairs whose answers are the same tokens."""


def check_rows(run: SERRun, checks: Sequence[Check]) -> Check:
    """A sample of the pairs as the reward model will read them: how many are cut, and one of them."""
    from ser_core.learn.reward.sample import TextPair, read_sample
    from ser_core.learn.text.reference_text import form_of

    models, pairs = (next(check.material for check in checks if check.name == name) for name in ("model", "data"))
    for one, field in zip(models, ("rewardModel.template", "policy.template"), strict=False):
        base_model_trial().refuse_dialogues(one.tokenizer, [pair.prompt for pair in pairs], field)
    tried = models[0]
    wanted = run.spec.reward_model.max_length
    length = min(wanted, tried.longest_row)
    texts = [
        TextPair(pair.prompt, *((pair.answer_2, pair.answer_1) if pair.better == 2 else (pair.answer_1, pair.answer_2))) for pair in pairs
    ]
    found = read_sample(texts, tried.tokenizer, length, form_of(run.spec.reward_model.template))
    first, second = ("better", "worse") if pairs[found.shown].better else ("one answer", "other answer")
    lines = (
        f"{_cut(found, length)}; one pair as the model reads it:",
        _line("prompt", found.prompt, at_the_end=False),
        _line(first, found.better, at_the_end=True),
        _line(second, found.worse, at_the_end=True),
    )
    why_cut = f"rewardModel.maxLength is {wanted}" if length == wanted else "the model or its tokenizer allows no more"
    return Check("rows", lines, tuple(_warnings(found, length, why_cut, tried.tokenizer.unk_token)))


def _cut(found: "Sample", length: int) -> str:
    share = f"{found.cut:,} of {counted(found.pairs, 'pair')} of a sample ({found.cut / found.pairs:.1%})"
    return f"{share} are cut to {length} tokens"


def _line(name: str, part: "Part", *, at_the_end: bool) -> str:
    from ser_core.data.preparing.pairs.text import ends_shown

    cut = f"[{part.lost} tokens cut]" if part.lost else ""
    return f"{name}: {' '.join(filter(None, (ends_shown(part.text), cut) if at_the_end else (cut, ends_shown(part.text))))}"


def _warnings(found: "Sample", length: int, why_cut: str, unknown_token: str) -> Iterator[str]:
    sample = f"{counted(found.pairs, 'pair')} of a sample"
    if found.cut > _MANY_CUT * found.pairs:
        yield f"{_cut(found, length)}, so the model does not see all of them: {why_cut}"
    if found.unknown > _MANY_UNKNOWN:
        unknown = f"{found.unknown:.0%} of the tokens of a sample are {unknown_token}"
        yield f"{unknown}, text that the tokenizer of rewardModel.base does not know: take a base of the language of the data"
    if found.changed:
        changed = f"of {found.changed:,} of {sample} the chat template leaves out or changes a part of an answer"
        yield f"{changed}, as some do up to </think>: rewardModel.template reference and custom read all of it"
    if found.alike_when_cut > _MANY_ALIKE * found.pairs:
        whole = found.alike > _MANY_ALIKE * found.pairs
        alike = f"of {found.alike if whole else found.alike_when_cut:,} of {sample} the two answers are"
        told = "the same tokens" if whole else f"the same once they are cut to {length} tokens"
        yield f"{alike} {told}: the model cannot tell them apart"
