"""The layouts of public preference sets. docs/data-formats.md lists the sets, with where each layout is described.

A layout may make several pairs of one row: of answers that are ranked or rated, the best is paired with each that is worse; of equally good
best ones the first counts.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ser_core.data.reading.dialogues.messages import messages_in, messages_in_text
from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.formats import Form
from ser_core.data.reading.labels import TIE
from ser_core.data.reading.layouts.layout import Fields, Layout, by_scores, number, renamed

_TRAINING = frozenset({"train", "training"})
_LIST = re.compile(r"\s*\[\s*(?:\"|null|\])")
"""How a list of texts begins that is written as JSON. A plain text may begin so, but hardly all three of a row."""


def _renaming(name: str, form: Form, names: Mapping[str, str]) -> Layout:
    needed = frozenset(column for key, column in names.items() if key != "system")
    return Layout(name, needed, form, lambda fields: [renamed(fields, names)], frozenset(names.values()) - needed, names=names)


def _two_answers(
    name: str, names: Mapping[str, str], labels: Sequence[str], better: Callable[[Fields], Any], also: Iterable[str] = ()
) -> Layout:
    def pairs(fields: Fields) -> list[dict[str, Any]]:
        return [renamed(fields, names) | {"better": better(fields)}]

    return Layout(name, frozenset((*names.values(), *labels)), Form.LABELED_ANSWERS, pairs, frozenset(also))


def _from(column: str, meanings: Mapping[Any, Any]) -> Callable[[Fields], Any]:
    def better(fields: Fields) -> Any:
        value = fields.get(column)
        if value is None or value == "":
            return None
        meaning = None if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str) else meanings.get(_number_in(value))
        if meaning is None:
            raise RowError("BadLabel", f"{column} is {str(value)[:20]!r}, expected one of {', '.join(map(str, meanings))}")
        return meaning

    return better


def _number_in(value: Any) -> Any:
    """The number that a text is, such as the 1.0 of a CSV whose column has empty cells; else the value."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _by_sign(column: str) -> Callable[[Fields], Any]:
    def better(fields: Fields) -> Any:
        value = number(fields, column)
        return None if value is None else TIE if value == 0 else 1 if value < 0 else 2

    return better


def _train_only(better: Callable[[Fields], Any]) -> Callable[[Fields], Any]:
    def of_training(fields: Fields) -> Any:
        split = fields.get("split", "train")
        if not isinstance(split, str) or split not in _TRAINING:
            raise RowError("OtherSplit", f"the row belongs to the split {str(split)[:20]!r}")
        return better(fields)

    return of_training


def _winner(fields: Fields) -> Any:
    for column, better in (("winner_model_a", 1), ("winner_model_b", 2), ("winner_tie", TIE)):
        if number(fields, column) == 1:
            return better
    raise RowError("BadLabel", "none of winner_model_a, winner_model_b and winner_tie is 1")


def _arena(fields: Fields) -> list[dict[str, Any]]:
    columns = ("prompt", "response_a", "response_b")
    written = all(_LIST.match(text) for text in map(fields.get, columns) if isinstance(text, str))
    prompts, first, second = (_texts(fields, column, written=written) for column in columns)
    if not len(prompts) == len(first) == len(second) == 1:
        raise RowError("SeveralTurns", "the two models had different dialogues, and the label is about the whole of them")
    return [{"prompt": prompts[0], "answer_1": first[0], "answer_2": second[0], "better": _winner(fields)}]


def _texts(fields: Fields, column: str, *, written: bool) -> list[str]:
    """One text for each turn: a list of them, also ``written`` as JSON; plain text is that of one turn."""
    texts = fields.get(column)
    if isinstance(texts, str):
        try:
            texts = json.loads(texts) if written else [texts]
        except (ValueError, RecursionError) as error:
            raise RowError("NotText", f"{column} is no JSON list of texts") from error
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RowError("NotText", f"{column} is no list of texts")
    return texts


def _arena_dialogues(fields: Fields) -> list[dict[str, Any]]:
    winners = {"model_a": 1, "model_b": 2, "tie": TIE, "tie (bothbad)": TIE, "both_bad": TIE}
    first, second = (_messages(fields.get(column)) for column in ("conversation_a", "conversation_b"))
    if first is None or second is None:
        raise RowError("NotText", "conversation_a and conversation_b must be lists of messages")
    if first[:-1] != second[:-1]:
        raise RowError("SeveralTurns", "the two models had different dialogues, and the label is about the whole of them")
    better = _from("winner", winners)(fields)
    return [{"prompt": first[:-1], "answer_1": first[-1:], "answer_2": second[-1:], "better": better}]


def _messages(value: Any) -> list[Any] | None:
    return messages_in_text(value) if isinstance(value, str) else messages_in(value)


def _webgpt(fields: Fields) -> list[dict[str, Any]]:
    question = fields.get("question")
    if isinstance(question, str) and question.startswith("{") and "full_text" in question:
        raise RowError("NotText", "question is an object that is written as text: give its full_text alone")
    prompt = question.get("full_text") if isinstance(question, dict) else question
    return [
        {
            "prompt": prompt,
            "answer_1": fields.get("answer_0"),
            "answer_2": fields.get("answer_1"),
            "better": by_scores("score_0", "score_1")(fields),
        }
    ]


def _summaries(fields: Fields) -> list[dict[str, Any]]:
    info, summaries = fields.get("info"), fields.get("summaries")
    if not isinstance(info, dict) or not isinstance(summaries, list) or len(summaries) != 2:
        raise RowError("MissingField", "info or one of the two summaries is missing")
    parts = (("SUBREDDIT: r/", info.get("subreddit")), ("TITLE: ", info.get("title")), ("POST: ", info.get("post") or info.get("article")))
    prompt = "\n\n".join([*(f"{mark}{text}" for mark, text in parts if text), "TL;DR:"])
    first, second = (one.get("text") if isinstance(one, dict) else None for one in summaries)
    better = _train_only(_from("choice", {0: 1, 1: 2}))(fields)
    return [{"prompt": prompt, "answer_1": first, "answer_2": second, "better": better}]


def best_against_each(prompt: Any, answers: Iterable[tuple[Any, float | None]]) -> list[dict[str, Any]]:
    """The best answer paired with each that is worse.

    Args:
        prompt: Common to all.
        answers: Each with its score, higher is better; without one it is left out.

    Raises:
        RowError: ``NoRanking`` when no answer is better than another.
    """
    scored = [(answer, score) for answer, score in answers if score is not None]
    best, highest = max(scored, key=lambda one: one[1], default=(None, 0.0))
    found = [{"prompt": prompt, "chosen": best, "rejected": answer} for answer, score in scored if score < highest]
    if not found:
        raise RowError("NoRanking", "no answer is ranked or rated above another")
    return found


def _entries(fields: Fields, column: str) -> list[Fields]:
    entries = fields.get(column)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RowError("NotText", f"{column} is no list of answers")
    return entries


def _nectar(fields: Fields) -> list[dict[str, Any]]:
    ranks = [(entry.get("answer"), number(entry, "rank")) for entry in _entries(fields, "answers")]
    return best_against_each(fields.get("prompt"), [(answer, None if rank is None else -rank) for answer, rank in ranks])


def _ultrafeedback(fields: Fields) -> list[dict[str, Any]]:
    answers = _entries(fields, "completions")
    score = "fine-grained_score" if all("fine-grained_score" in answer for answer in answers) else "overall_score"
    return best_against_each(fields.get("instruction"), [(answer.get("response"), number(answer, score)) for answer in answers])


def _tree(fields: Fields) -> list[dict[str, Any]]:
    root = fields.get("prompt")
    if not isinstance(root, dict):
        raise RowError("NotText", "prompt is no tree of messages")
    found: list[dict[str, Any]] = []
    open_ends: list[tuple[Fields, tuple[Fields, ...]]] = [(root, ())]
    while open_ends:
        node, before = open_ends.pop()
        turns = (*before, {"role": node.get("role"), "content": node.get("text")})
        replies = [reply for reply in node.get("replies") or () if isinstance(reply, dict) and not reply.get("deleted")]
        ranked = [(reply, number(reply, "rank")) for reply in replies if reply.get("role") == "assistant"]
        if len({rank for _, rank in ranked if rank is not None}) > 1:
            answers = [([{"role": "assistant", "content": reply.get("text")}], None if rank is None else -rank) for reply, rank in ranked]
            found += best_against_each(list(turns), answers)
        open_ends += [(reply, turns) for reply in replies]
    if not found:
        raise RowError("NoRanking", "no answer of the tree is ranked above another")
    return found


def _alpaca(fields: Fields) -> list[dict[str, Any]]:
    texts = [fields.get("instruction"), fields.get("input")]
    prompt = "\n\n".join(text for text in texts if text) if all(isinstance(text, str | None) for text in texts) else texts[0]
    return [{"prompt": prompt, **renamed(fields, {"system": "system", "chosen": "chosen", "rejected": "rejected"})}]


def _distilabel(fields: Fields) -> list[dict[str, Any]]:
    if fields.get("status") == "tie":
        raise RowError("Tie", "its status is tie")
    return [renamed(fields, {"prompt": "input", "system": "system", "chosen": "chosen", "rejected": "rejected"})]


def _instead_of_prompt(column: str, name: str) -> Layout:
    names = {"prompt": column, "system": "system", "chosen": "chosen", "rejected": "rejected"}
    return _renaming(name, Form.EXPLICIT, names)


KNOWN = (
    _renaming("", Form.EXPLICIT, {"prompt": "prompt", "system": "system", "chosen": "chosen", "rejected": "rejected"}),
    _instead_of_prompt("question", "orca_dpo_pairs"),
    Layout("Alpaca", frozenset({"instruction", "input", "chosen", "rejected"}), Form.EXPLICIT, _alpaca, frozenset({"system"})),
    Layout(
        "distilabel-intel-orca-dpo-pairs",
        frozenset({"input", "chosen", "rejected", "status"}),
        Form.EXPLICIT,
        _distilabel,
        frozenset({"system"}),
    ),
    _renaming(
        "OpenAI's preference pairs", Form.EXPLICIT, {"prompt": "input", "chosen": "preferred_output", "rejected": "non_preferred_output"}
    ),
    _instead_of_prompt("input", "input pairs"),
    _instead_of_prompt("instruction", "instruction pairs"),
    _instead_of_prompt("conversations", "ShareGPT"),
    _two_answers(
        "SHP",
        {"prompt": "history", "answer_1": "human_ref_A", "answer_2": "human_ref_B"},
        ("labels",),
        _from("labels", {1: 1, 0: 2}),
    ),
    _two_answers(
        "PKU-SafeRLHF",
        {"prompt": "prompt", "answer_1": "response_0", "answer_2": "response_1"},
        ("better_response_id",),
        _from("better_response_id", {0: 1, 1: 2}),
    ),
    _two_answers(
        "HelpSteer2 preferences",
        {"prompt": "prompt", "answer_1": "response_1", "answer_2": "response_2"},
        ("preference_strength",),
        _train_only(_by_sign("preference_strength")),
        ("split",),
    ),
    _two_answers(
        "HelpSteer3",
        {"prompt": "context", "answer_1": "response1", "answer_2": "response2"},
        ("overall_preference",),
        _by_sign("overall_preference"),
    ),
    Layout(
        "arena-55k",
        frozenset({"prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"}),
        Form.LABELED_ANSWERS,
        _arena,
    ),
    Layout("arena conversations", frozenset({"conversation_a", "conversation_b", "winner"}), Form.LABELED_ANSWERS, _arena_dialogues),
    _renaming(
        "arena pairs",
        Form.LABELED_ANSWERS,
        {"prompt": "prompt", "answer_1": "response_a", "answer_2": "response_b", "better": "winner"},
    ),
    Layout("WebGPT", frozenset({"question", "answer_0", "answer_1", "score_0", "score_1"}), Form.LABELED_ANSWERS, _webgpt),
    Layout("summarize_from_feedback", frozenset({"info", "summaries", "choice"}), Form.LABELED_ANSWERS, _summaries, frozenset({"split"})),
    Layout("Nectar", frozenset({"prompt", "answers"}), Form.EXPLICIT, _nectar, makes_one_pair=False),
    Layout("UltraFeedback", frozenset({"instruction", "completions"}), Form.EXPLICIT, _ultrafeedback, makes_one_pair=False),
    Layout("OASST trees", frozenset({"message_tree_id", "prompt"}), Form.EXPLICIT, _tree, makes_one_pair=False),
)
"""In order of precedence, before the forms themselves."""
