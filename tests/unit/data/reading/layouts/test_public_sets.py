"""One invented row in the layout of each public set, and what is made of it. docs/data-formats.md says where each layout is described."""

import json
from pathlib import Path

import pytest

from ser_core.data.reading.dialogues.turns import TURN, Turn, render_prompt, unmarked
from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.formats import RawPair
from ser_core.data.reading.layouts.finding import find_layout, read_pairs


def said(role, content):
    return {"role": role, "content": content}


USER, SKY, FLOOR = said("user", "What is up?"), said("assistant", "the sky"), said("assistant", "the floor")
FIRST, SECOND = RawPair("What is up?", "the sky", "the floor", 1), RawPair("What is up?", "the floor", "the sky", 2)
TIE = RawPair("What is up?", "the sky", "the floor", 0)
WITH_SYSTEM = RawPair(f"{TURN}System: Be brief.\n\n{TURN}Human: What is up?", "the sky", "the floor", 1)
HELPSTEER = {"prompt": "What is up?", "response_1": "the floor", "response_2": "the sky", "preference_statement": "…"}
ARENA = {"id": 1, "model_a": "a", "model_b": "b", "prompt": '["What is up?"]', "response_a": '["the sky"]', "response_b": '["the floor"]'}

PLAIN = {"prompt": "What is up?", "response_a": "the sky", "response_b": "the floor"}
WON = {**ARENA, "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}


def completion(text, score, overall):
    return {"response": text, "fine-grained_score": score, "overall_score": overall, "model": "m", "annotations": {}}


def reply(text, role="assistant", rank=None, replies=()):
    return {"message_id": text, "text": text, "role": role, "rank": rank, "replies": list(replies)}


def tree(*replies):
    return {"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": reply("What is up?", "prompter", replies=replies)}


def parts(*messages):
    return [{**one, "content": [{"type": "text", "text": one["content"], "image": None, "mimeType": None}]} for one in messages]


SETS = {
    "Anthropic/hh-rlhf": (
        {"chosen": "\n\nHuman: What is up?\n\nAssistant: the sky", "rejected": "\n\nHuman: What is up?\n\nAssistant: the floor"},
        [FIRST],
    ),
    "HuggingFaceH4/ultrafeedback_binarized": (
        {
            "prompt": "What is up?",
            "prompt_id": "0",
            "chosen": [USER, SKY],
            "rejected": [USER, FLOOR],
            "messages": [USER, SKY],
            "score_chosen": 8.5,
            "score_rejected": 6.0,
        },
        [FIRST],
    ),
    "argilla/ultrafeedback-binarized-preferences-cleaned": (
        {
            "source": "evol",
            "prompt": "What is up?",
            "chosen": [USER, SKY],
            "chosen-rating": 5.0,
            "chosen-model": "m",
            "rejected": [USER, FLOOR],
            "rejected-rating": 4.0,
            "rejected-model": "n",
        },
        [FIRST],
    ),
    "openbmb/UltraFeedback": (
        {
            "source": "evol",
            "instruction": "What is up?",
            "models": ["m", "n", "o"],
            "completions": [completion("the floor", 2.5, 10), completion("the sky", 4.5, 1), completion("the moon", 4.5, 3)],
        },
        [FIRST],
    ),
    "nvidia/HelpSteer2 preference": ({**HELPSTEER, "split": "train", "preference_strength": 2}, [SECOND]),
    "nvidia/HelpSteer3": (
        {
            "domain": "general",
            "language": "english",
            "context": [USER],
            "response1": "the sky",
            "response2": "the floor",
            "overall_preference": -1,
            "individual_preference": [],
        },
        [FIRST],
    ),
    "stanfordnlp/SHP": (
        {
            "post_id": "p",
            "domain": "askscience_train",
            "history": "What is up?",
            "human_ref_A": "the floor",
            "human_ref_B": "the sky",
            "labels": 0,
            "score_A": 3,
            "score_B": 9,
            "score_ratio": 3.0,
        },
        [SECOND],
    ),
    "PKU-Alignment/PKU-SafeRLHF": (
        {
            "prompt": "What is up?",
            "response_0": "the sky",
            "response_1": "the floor",
            "is_response_0_safe": True,
            "is_response_1_safe": True,
            "better_response_id": 0,
            "safer_response_id": 1,
        },
        [FIRST],
    ),
    "berkeley-nest/Nectar": (
        {
            "prompt": "\n\nHuman: What is up?\n\nAssistant: ",
            "answers": [
                {"answer": "the floor", "model": "m", "rank": 2.0},
                {"answer": "the sky", "model": "n", "rank": 1.0},
                {"answer": "a wall", "model": "o", "rank": 7.0},
            ],
            "turns": 1,
        },
        [FIRST, RawPair("What is up?", "the sky", "a wall", 1)],
    ),
    "lmsys/lmsys-arena-human-preference-55k": (WON, [FIRST]),
    "lmsys/lmsys-arena-human-preference-55k with lists": ({**WON, "prompt": ["What is up?"], "response_a": ["the sky"]}, [FIRST]),
    "lmsys/lmsys-arena-human-preference-55k with texts": ({**WON, **PLAIN}, [FIRST]),
    "lmsys/chatbot_arena_conversations": ({"conversation_a": [USER, FLOOR], "conversation_b": [USER, SKY], "winner": "model_b"}, [SECOND]),
    "lmarena-ai/arena-human-preference-140k": (
        {"id": "i", "model_a": "m", "winner": "model_b", "conversation_a": parts(USER, FLOOR), "conversation_b": parts(USER, SKY)},
        [SECOND],
    ),
    "lmarena-ai/arena-human-preference-100k": (
        {"conversation_a": json.dumps([USER, FLOOR]), "conversation_b": json.dumps([USER, SKY]), "winner": "model_b", "turn": 1},
        [SECOND],
    ),
    "wsdm-cup-multilingual-chatbot-arena": (
        {"id": "i", "prompt": "What is up?", "response_a": "the floor", "response_b": "the sky", "winner": "model_b", "model_a": "m"},
        [SECOND],
    ),
    "Intel/orca_dpo_pairs": (
        {"system": "Be brief.", "question": "What is up?", "chosen": "the sky", "rejected": "the floor"},
        [WITH_SYSTEM],
    ),
    "argilla/distilabel-intel-orca-dpo-pairs": (
        {
            "system": "",
            "input": "What is up?",
            "chosen": "the sky",
            "rejected": "the floor",
            "status": "unchanged",
            "original_chosen": "the sky",
            "chosen_score": 9.0,
            "rating": [9.0, 5.0],
        },
        [FIRST],
    ),
    "openai/webgpt_comparisons": (
        {
            "question": {"dataset": "eli5", "id": "q", "full_text": "What is up?"},
            "answer_0": "the sky",
            "tokens_0": {},
            "score_0": 0.66,
            "answer_1": "the floor",
            "tokens_1": {},
            "score_1": -0.66,
        },
        [FIRST],
    ),
    "openai/summarize_from_feedback": (
        {
            "info": {"id": "i", "post": "It is long.", "title": "Up", "subreddit": "sky", "site": None, "article": None},
            "summaries": [{"text": "the floor", "policy": "p", "note": None}, {"text": "the sky", "policy": "q", "note": None}],
            "choice": 1,
            "split": "train",
            "worker": "w",
        },
        [RawPair("SUBREDDIT: r/sky\n\nTITLE: Up\n\nPOST: It is long.\n\nTL;DR:", "the floor", "the sky", 2)],
    ),
    "Skywork/Skywork-Reward-Preference-80K-v0.2": ({"chosen": [USER, SKY], "rejected": [USER, FLOOR], "source": "magpie"}, [FIRST]),
    "allenai/llama-3.1-tulu-3-8b-preference-mixture": (
        {"id": "i", "source": "wildchat", "prompt": "What is up?", "chosen": [USER, SKY], "rejected": [USER, FLOOR]},
        [FIRST],
    ),
    "OpenAssistant/oasst1 trees": (
        tree(reply("the floor", rank=1), reply("the sky", rank=0, replies=[reply("Why?", "prompter", 0, [reply("so", rank=None)])])),
        [FIRST],
    ),
    "preferred_output of OpenAI": (
        {
            "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [SKY],
            "non_preferred_output": [FLOOR],
        },
        [FIRST],
    ),
    "ShareGPT": (
        {
            "conversations": [{"from": "human", "value": "What is up?"}],
            "chosen": {"from": "gpt", "value": "the sky"},
            "rejected": {"from": "gpt", "value": "the floor"},
        },
        [FIRST],
    ),
    "ShareGPT with a system message": (
        {
            "system": "Be brief.",
            "conversations": [{"from": "human", "value": "What is up?"}],
            "chosen": {"from": "gpt", "value": "the sky"},
            "rejected": {"from": "gpt", "value": "the floor"},
        },
        [RawPair(render_prompt([Turn("system", "Be brief."), Turn("user", "What is up?")]), "the sky", "the floor", 1)],
    ),
    "ShareGPT with answers as text": (
        {"conversations": [{"from": "human", "value": "What is up?"}], "chosen": "the sky", "rejected": "the floor"},
        [FIRST],
    ),
    "ShareGPT with answers as lists": ({"conversations": [USER], "chosen": [SKY], "rejected": [FLOOR]}, [FIRST]),
    "Alpaca": ({"instruction": "What is up?", "input": "", "chosen": "the sky", "rejected": "the floor"}, [FIRST]),
    "Alpaca with a system message": (
        {"instruction": "What is", "input": "up?", "system": "Be brief.", "chosen": "the sky", "rejected": "the floor"},
        [RawPair(render_prompt([Turn("system", "Be brief."), Turn("user", "What is\n\nup?")]), "the sky", "the floor", 1)],
    ),
}


def pairs(row, **options):
    return read_pairs(row, find_layout(row, "data.jsonl", None, **{"labels_needed": True} | options))


@pytest.mark.parametrize("name", SETS)
def test_a_public_set_is_read_as_it_is(name):
    row, expected = SETS[name]
    assert pairs(row) == expected


@pytest.mark.parametrize(
    "row",
    [
        {**HELPSTEER, "response_1": "the sky", "response_2": "the floor", "preference_strength": 0},
        {**ARENA, "winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1},
        {"conversation_a": [USER, SKY], "conversation_b": [USER, FLOOR], "winner": "tie (bothbad)"},
        {"conversation_a": [USER, SKY], "conversation_b": [USER, FLOOR], "winner": "both_bad"},
        {"prompt": "What is up?", "response_a": "the sky", "response_b": "the floor", "winner": "tie (bothbad)"},
        {"prompt": "What is up?", "answer_1": "the sky", "answer_2": "the floor", "better": "Tie"},
    ],
)
def test_a_tie_is_no_label(row):
    assert pairs(row) == [TIE]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**HELPSTEER, "split": "val", "preference_strength": 2}, "OtherSplit"),
        ({**HELPSTEER, "preference_strength": "much"}, "BadLabel"),
        ({**ARENA, "prompt": '["a", "b"]', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}, "SeveralTurns"),
        ({**ARENA, "prompt": '["no list"', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}, "NotText"),
        ({**ARENA, "prompt": ["What is up?", None], "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}, "NotText"),
        ({**SETS["openai/webgpt_comparisons"][0], "question": "{'dataset': 'eli5', 'full_text': 'What is up?'}"}, "NotText"),
        (tree(reply("the sky", rank=0)), "NoRanking"),
        ({"prompt": "q", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 1}]}, "NoRanking"),
        ({"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": 2}, "BadLabel"),
    ],
)
def test_a_row_that_makes_no_pair_says_why(row, reason):
    with pytest.raises(RowError) as caught:
        pairs(row)
    assert caught.value.reason == reason


def test_the_manual_names_every_set():
    manual = (Path(__file__).parents[5] / "docs" / "data-formats.md").read_text()
    assert [name for name in SETS if f"`{name.split()[0]}`" not in manual] == []


@pytest.mark.parametrize(
    "written",
    [
        json.dumps,
        repr,
        lambda messages: [{"from": {"user": "human", "assistant": "gpt"}[one["role"]], "value": one["content"]} for one in messages],
        lambda messages: [{**one, "content": [{"type": "text", "text": one["content"]}]} for one in messages],
        lambda messages: [{**one, "role": one["role"].capitalize()} for one in messages],
        lambda messages: [{**one, "content": [one["content"]]} for one in messages],
        lambda messages: {"messages": messages, "id": 3},
        lambda messages: json.dumps({"conversations": messages}),
        lambda messages: json.dumps(json.dumps(messages)),
        lambda messages: json.dumps([{"id": 1, **one} for one in messages]),
        lambda messages: f"[{messages[0]!r}\n {messages[1]!r}]",
        lambda messages: f"array([{messages[0]!r},\n       {messages[1]!r}],\n      dtype=object)",
    ],
    ids=[
        *("JSON text", "Python text", "ShareGPT", "parts", "capitals", "parts of text", "in an object", "in an object as text"),
        *("JSON text in JSON text", "another key first", "NumPy's text", "NumPy's text for Python"),
    ],
)
def test_messages_are_read_in_each_spelling(written):
    assert pairs({"chosen": written([USER, SKY]), "rejected": written([USER, FLOOR])}) == [FIRST]


def test_one_message_as_text_is_an_answer():
    row = {"prompt": "What is up?", "chosen": json.dumps(SKY), "rejected": repr(FLOOR)}
    assert [(pair.answer_1, pair.answer_2) for pair in pairs(row)] == [(SKY["content"], FLOOR["content"])]


@pytest.mark.parametrize("answer", ['{"role": "admin"}', '[{"a": 1}]', "[{role: user}]", '{"role": "user", "content": ...}'])
def test_what_only_resembles_messages_is_text(answer):
    assert pairs({"prompt": "Write it.", "chosen": answer, "rejected": "no"})[0].answer_1 == answer


def test_what_begins_like_messages_and_cannot_be_read_is_dropped():
    with pytest.raises(RowError, match="begins like messages"):
        pairs({"prompt": "a", "chosen": '[{"role": "assistant", "content": "cut "off"}]', "rejected": "b"})


def test_a_transcript_may_begin_with_the_system():
    head = "System: Be brief.\n\nHuman: What is up?\n\nAssistant: "
    (pair,) = pairs({"chosen": f"{head}the sky", "rejected": f"{head}the floor"})
    assert (unmarked(pair.prompt), pair.answer_1) == ("System: Be brief.\n\nHuman: What is up?", "the sky")


@pytest.mark.parametrize(
    "own", [{"prompt": "[INST] What? [/INST]"}, {"response_a": "[1, 2]"}, {"response_a": '["x", "y"]'}, {"response_b": '["x"]'}]
)
def test_a_plain_text_of_the_arena_that_begins_with_a_bracket_is_read_as_it_stands(own):
    row = {**WON, **PLAIN, **own}
    (pair,) = read_pairs(row, find_layout(row, "x", None, labels_needed=True))
    assert (pair.prompt, pair.answer_1, pair.answer_2) == tuple({**PLAIN, **own}.values())


@pytest.mark.parametrize("cell", ['["the sky', "[null]", '["the sky", null]'])
def test_a_row_of_the_arena_with_a_list_that_is_none_of_texts_is_dropped(cell):
    row = {**WON, "response_a": cell}
    with pytest.raises(RowError) as caught:
        read_pairs(row, find_layout(row, "x", None, labels_needed=True))
    assert caught.value.reason == "NotText"
