"""The catalogue of bad data, rows 25 to 47; the number stands in each test's name."""

import gzip
import json
import tracemalloc

import pytest

from ser_core.data.preparing.pairs.spool import read_spool
from ser_core.data.preparing.pairs.text import normal_form
from ser_core.data.reading.files.rows import MAX_ROW_BYTES, DataFile
from ser_core.data.reading.files.streams import read_lines
from ser_core.errors import DataError


def lines(rows, *, end="\n"):
    return "".join(json.dumps(row) + end for row in rows).encode()


def texts(prepared):
    positions = sorted(position for side in prepared.sides.values() for position in side)
    return {text for pair in read_spool(prepared.spool, positions) for text in (pair.prompt, pair.answer_1, pair.answer_2)}


def test_25_a_missing_file_an_empty_file_and_an_empty_folder_are_named(refusal, write, tmp_path):
    assert refusal(tmp_path / "nothing.jsonl").reason == "DataNotFound"
    assert "data.jsonl has 0 bytes" in refusal(b"").message
    assert refusal(b" \n\n").reason == "DataEmpty"
    assert refusal(b"prompt,chosen,rejected\n", "header.csv").reason == "DataEmpty"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder").reason == "DataNotFound"


@pytest.mark.parametrize(
    ("bad", "where"),
    [("é".encode("latin-1"), "line 12, byte offset 2"), (b"\xff", "line 12, byte offset 2")],
    ids=["latin-1", "invalid byte"],
)
def test_26_text_that_is_no_utf8_is_refused_with_line_and_offset(refusal, good, bad, where):
    before = lines(good(11))
    error = refusal(before + b'{"' + bad + b'": 1}\n' + lines(good(20)))
    assert error.reason == "InvalidEncoding"
    assert where.replace("offset 2", f"offset {len(before) + 2}") in error.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_26_utf16_and_utf32_are_refused_by_their_names(refusal, good, encoding, order):
    error = refusal(f"\ufeff{lines(good(20)).decode()}".encode(f"{encoding}-{order}"))
    assert (error.reason, encoding.upper() in error.message) == ("InvalidEncoding", True)
    assert error.hint.startswith(f"convert the file: iconv -f {encoding.upper()} -t")


def test_byte_order_marks_of_files_that_were_put_together_are_no_part_of_a_row(prepare, good):
    rows = good(40)
    content = b"\xef\xbb\xbf".join((b"", lines(rows[:20]), lines(rows[20:])))
    assert (prepare(content).metrics.rows, prepare(content).metrics.dropped) == (40, {})


def test_27_a_byte_order_mark_crlf_and_a_missing_last_newline_are_normalised_and_noted(prepare, good):
    prepared = prepare(b"\xef\xbb\xbf" + lines(good(40), end="\r\n").rstrip())
    assert prepared.metrics.rows == 40
    assert "normalised: CRLF line ends, a byte order mark" in prepared.metrics.warnings
    assert {text for row in good(40) for text in row.values()} == texts(prepared)


def test_28_unicode_line_separators_do_not_end_a_row(prepare, good):
    rows = [{**row, "chosen": f"one\u2028two\u0085three {row['prompt']}"} for row in good(40)]
    raw = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    assert prepare(raw).metrics.rows == 40


def test_29_a_cut_off_last_line_is_dropped_with_its_number(prepare, good):
    prepared = prepare(lines(good(40))[:-15])
    assert (prepared.metrics.rows, prepared.metrics.dropped) == (40, {"MalformedJson": 1})
    assert any(warning.startswith("MalformedJson: 1 dropped, the first in data.jsonl, line ") for warning in prepared.metrics.warnings)


def test_29_several_malformed_lines_are_refused_with_the_first_line(refusal, good):
    rows = lines(good(300)).split(b"\n")
    rows[6] = rows[200] = b'{"prompt": '
    error = refusal(b"\n".join(rows))
    assert (error.reason, error.message.startswith("data.jsonl, line 7:")) == ("MalformedJson", True)
    assert "MalformedJson 2" in error.message


def test_30_an_array_named_jsonl_is_read_as_what_it_is(prepare, good):
    prepared = prepare(json.dumps(good(40), indent=1).encode())
    assert prepared.metrics.found == "json, preference pairs with explicit prompt, text"
    assert any("data.jsonl holds json" in warning for warning in prepared.metrics.warnings)


def test_30_csv_named_jsonl_is_read_as_what_it_is(prepare, good):
    table = "prompt,chosen,rejected\n" + "".join(f'"{row["prompt"]}","{row["chosen"]}","{row["rejected"]}"\n' for row in good(40))
    prepared = prepare(table.encode())
    assert prepared.metrics.found.startswith("csv,")
    assert any("data.jsonl holds csv" in warning for warning in prepared.metrics.warnings)


def test_30_what_is_no_known_format_is_refused(refusal):
    error = refusal(b"PK\x03\x04 a zip archive, really", "data.csv")
    assert (error.reason, ".parquet" in error.hint) == ("UnknownFormat", True)


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        ('"prompt": ', '"prompt": "another", "prompt": ', "DuplicateKey"),
        ('"prompt": "question 3"', '"prompt": NaN', "NotFinite"),
        ('"prompt": "question 3"', '"prompt": -Infinity', "NotFinite"),
    ],
    ids=["repeated key", "NaN", "Infinity"],
)
@pytest.mark.parametrize("array", [False, True], ids=["lines", "array"])
def test_31_what_python_would_accept_silently_is_dropped(prepare, good, was, now, reason, array):
    rows = [json.dumps(row) for row in good(40)]
    rows[3] = rows[3].replace(was, now)
    content = "[" + ",\n".join(rows) + "]" if array else "\n".join(rows)
    assert prepare(content.encode()).metrics.dropped == {reason: 1}


@pytest.mark.parametrize(
    "bad",
    [b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", b'{"a": ' + b"1" * 1_000_000 + b"}", b'{"a": "' + b"x" * MAX_ROW_BYTES + b'"}'],
    ids=["deep", "digits", "long"],
)
def test_32_deep_long_and_huge_rows_are_dropped(prepare, good, bad):
    assert prepare(lines(good(40)) + bad + b"\n").metrics.dropped == {"TooLarge": 1}


def test_32_a_long_line_is_never_held_whole(write):
    path = write(b"x" * (4 * MAX_ROW_BYTES) + b"\n{}\n")
    tracemalloc.start()
    assert list(read_lines(DataFile("data.jsonl", path), lambda _: None, set())) == [None, "{}"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MAX_ROW_BYTES


def test_text_that_grows_in_its_normal_form_is_dropped(prepare, good):
    rows = good(40)
    rows[5]["chosen"] = "\ufdfa" * (MAX_ROW_BYTES // 18 + 1)
    assert prepare(rows).metrics.dropped == {"TooLarge": 1}


@pytest.mark.parametrize("bad", ["\ud800", "a\x00b"], ids=["lone surrogate", "NUL"])
def test_33_unusable_characters_drop_the_row(prepare, good, bad):
    rows = good(40)
    rows[5]["chosen"] = f"text {bad}"
    assert prepare(rows).metrics.dropped == {"InvalidUnicode": 1}


def test_33_invisible_characters_are_removed_and_counted_but_joiners_stay(prepare, good):
    rows = good(40)
    rows[5]["chosen"] = "zero\u200bwidth \u202eoverride"
    rows[6]["chosen"] = "family \U0001f468\u200d\U0001f469"
    prepared = prepare(rows)
    assert {"zerowidth override", "family \U0001f468\u200d\U0001f469"} <= texts(prepared)
    assert any(warning.startswith("1 pair with zero-width") for warning in prepared.metrics.warnings)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "MissingField"), (7, "NotText"), (["a list of", "text"], "NotText"), ({"a": 1}, "NotText"), ([], "BadTurns")],
)
def test_34_a_field_that_is_no_text_drops_the_row(prepare, good, value, reason):
    rows = good(40)
    rows[9] = {**rows[9], "chosen": value, "rejected": value if isinstance(value, list) else "text"}
    assert prepare(rows).metrics.dropped == {reason: 1}


def test_34_too_many_missing_fields_are_refused_with_field_line_and_counts(refusal, good):
    rows = good(40)
    for row in rows[10:16]:
        del row["rejected"]
    error = refusal(rows)
    assert error.reason == "MissingField"
    assert "data.jsonl, line 11: rejected is missing; 6 of 40 rows" in error.message
    assert "maxDroppedFraction 0.1" in error.message


@pytest.mark.parametrize(("bad", "offered"), [(6, True), (33, False), (40, False)])
def test_34_more_drops_are_offered_only_where_enough_rows_would_be_left(refusal, good, bad, offered):
    hint = refusal([{**row, "chosen": None} if n < bad else row for n, row in enumerate(good(40))]).hint
    assert ("raise data.maxDroppedFraction" in hint, f"the {40 - bad} rows" in hint) == (offered, offered)


def test_labels_of_other_words_are_told_what_to_write(refusal, good):
    rows = [{"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"], "better": "yes"} for row in good(40)]
    hint = refusal(rows).hint
    assert ("1, 2 or tie" in hint, "chosen and rejected in data.source.columns" in hint, "maxDropped" in hint) == (True, True, False)


@pytest.mark.parametrize("empty", ["", "  \n\t", "\u200b\u3000"])
def test_35_an_empty_answer_drops_the_row(prepare, good, empty):
    rows = good(40)
    rows[0]["rejected"] = empty
    assert prepare(rows).metrics.dropped == {"EmptyAnswer": 1}


def test_36_identical_answers_drop_the_row(prepare, good):
    rows = good(40)
    rows[1]["rejected"] = rows[1]["chosen"]
    rows[2]["rejected"] = f"  {rows[2]['chosen'].upper()} "
    rows[3] |= {"chosen": "ﬁve", "rejected": "five"}
    assert prepare(rows).metrics.dropped == {"IdenticalAnswers": 3}


def hh(*turns):
    return "".join(f"\n\n{'Human' if n % 2 == 0 else 'Assistant'}: {turn}" for n, turn in enumerate(turns))


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (hh("a", "b", "c", "d"), hh("a", "B!", "c", "e"), "PromptMismatch"),
        (hh("a", "b"), hh("a", "b", "c", "d"), "PromptMismatch"),
        (hh("a", "b", "c"), hh("a", "b", "d"), "BadTurns"),
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant: c", "\n\nHuman: a\n\nHuman: b\n\nAssistant: d", "BadTurns"),
    ],
    ids=["contexts differ", "lengths differ", "no answer", "user twice"],
)
def test_37_dialogues_that_do_not_match_are_dropped(prepare, chosen, rejected, reason):
    rows = [{"chosen": hh(f"q{n}", f"right {n}"), "rejected": hh(f"q{n}", f"wrong {n}")} for n in range(40)]
    assert prepare([*rows, {"chosen": chosen, "rejected": rejected}]).metrics.dropped == {reason: 1}


def test_38_exact_and_near_duplicates_are_kept_once_whatever_the_order(prepare, good):
    rows = good(40)
    rows += [dict(rows[3]), {name: f" {text.upper()}" for name, text in rows[4].items()}]
    forth, back = prepare(rows), prepare(rows[::-1])
    assert forth.metrics.dropped == {"Duplicate": 2}
    assert texts(forth) == texts(back)


def test_38_repeats_do_not_count_as_unusable(prepare, good):
    assert prepare(good(40) * 2).metrics.dropped == {"Duplicate": 40}


def test_38_one_id_with_different_texts_is_refused(refusal, good):
    rows = [{**row, "id": n} for n, row in enumerate(good(40))]
    rows[21]["id"] = 20
    error = refusal(rows)
    assert (error.reason, "line 22" in error.message) == ("ConflictingIds", True)


def test_39_a_pair_with_both_labels_is_dropped_altogether(prepare, good):
    rows = good(40)
    rows.append({"prompt": rows[7]["prompt"], "chosen": rows[7]["rejected"], "rejected": rows[7]["chosen"]})
    prepared = prepare(rows)
    assert prepared.metrics.dropped == {"ContradictoryLabel": 2}
    assert rows[7]["chosen"] not in texts(prepared)


def test_39_many_contradictions_are_refused(refusal, good):
    rows = good(40)
    rows += [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows[:8]]
    assert refusal(rows).reason == "ContradictoryLabel"


def test_40_a_heldout_prompt_in_seed_or_unlabeled_is_refused_with_examples(prepare_three, good):
    rows = good(100)
    leaked = [{**row, "prompt": row["prompt"].upper(), "chosen": "another answer"} for row in rows[:5]]
    with pytest.raises(DataError) as caught:
        prepare_three(rows[:30], rows[30:80], rows[80:] + leaked)
    assert caught.value.reason == "SplitLeakage"
    assert "shares 5 prompts" in caught.value.message
    assert caught.value.message.count("'question ") == 3


def test_41_a_long_prompt_is_kept_whole(prepare, good):
    """Tokens are counted by the later stages, which keep the answer and the end of the prompt."""
    rows = good(40)
    rows[0]["prompt"] = "word " * 100_000
    assert prepare(rows).metrics.dropped == {}


def test_42_special_tokens_in_the_text_are_counted(prepare, good):
    rows = good(40)
    rows[0]["chosen"] += " <|im_start|>system"
    rows[1]["prompt"] += " [INST]"
    prepared = prepare(rows)
    assert any(warning.startswith("2 pairs with special tokens") for warning in prepared.metrics.warnings)


@pytest.mark.parametrize(
    "marker", ["<extra_id_1>User\n", "<｜Assistant｜>", "<<SYS>>", "[SYSTEM_PROMPT]", "<bos>", "### Instruction:\n", "[gMASK]<sop>"]
)
def test_42_markers_of_other_templates_are_told(prepare, good, marker):
    found = prepare([row | {"prompt": marker + row["prompt"]} for row in good(40)])
    assert any(warning.startswith("40 pairs with special tokens or role markers") for warning in found.metrics.warnings)


@pytest.mark.parametrize("text", ["a < b and b > c", "# A heading\n### And another", "[1] see <https://a.b>", "x[i]"])
def test_42_other_text_in_brackets_is_no_marker(prepare, good, text):
    found = prepare([row | {"prompt": f"{text} {row['prompt']}"} for row in good(40)])
    assert not any("special tokens" in warning for warning in found.metrics.warnings)


@pytest.mark.parametrize("end", ["\nAssistant:", "\n\n### Response:", "\n**AI**:", "\nA: "])
def test_42_a_prompt_that_ends_with_the_role_of_the_answer_is_told(prepare, good, end):
    found = prepare([row | {"prompt": row["prompt"] + end} for row in good(40)])
    assert any(warning.startswith("40 pairs with special tokens or role markers") for warning in found.metrics.warnings)


def test_characters_that_an_earlier_program_has_lost_are_told(prepare, good):
    found = prepare([row | {"chosen": f"caf\ufffd {row['chosen']}"} for row in good(40)])
    assert any(warning.startswith("40 pairs with U+FFFD") for warning in found.metrics.warnings)


def test_42_answers_that_begin_with_the_role_are_told(prepare, good):
    def told(name):
        rows = [{**row, **{side: f"\n\n{name}: {row[side]}" for side in ("chosen", "rejected")}} for row in good(40)]
        return any(one.startswith("40 pairs with special tokens or role markers") for one in prepare(rows).metrics.warnings)

    assert (told("Assistant"), told("**AI**"), told("Answer"), told("A bot")) == (True, True, False, False)


@pytest.mark.parametrize(
    ("as_text", "told"), [(json.dumps, True), (lambda text: json.dumps([text]), True), (lambda text: f"[{text}]", False)]
)
def test_texts_that_are_all_json_are_told(prepare, good, as_text, told):
    rows = [{name: as_text(text) for name, text in row.items()} for row in good(40)]
    assert any("40 pairs whose texts are all written as JSON" in one for one in prepare(rows).metrics.warnings) is told
    rows = [{**row, "chosen": json.dumps([row["chosen"]])} for row in good(40)]
    assert not any("as JSON" in one for one in prepare(rows).metrics.warnings)


def test_line_breaks_that_were_escaped_twice_are_told(prepare, good):
    def told(line_break):
        rows = [{**row, **{side: f"1.{line_break}{row[side]}" for side in ("chosen", "rejected")}} for row in good(40)]
        return any(one.startswith(r"40 pairs whose answers have \n in place of") for one in prepare(rows).metrics.warnings)

    assert (told("\\n"), told("\n"), told("\n print('\\n') ")) == (True, False, False)


@pytest.mark.parametrize("text", ["café", "“quotes”", "Straße – ü"])
@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_text_that_was_read_in_another_encoding_is_told(prepare, good, text, wrong):
    def told(text):
        warnings = prepare([row | {"chosen": f"{text} {row['chosen']}"} for row in good(40)]).metrics.warnings
        return any(warning.startswith("40 pairs with characters such as Ã©") for warning in warnings)

    assert (told(text), told(text.encode().decode(wrong, errors="ignore"))) == (False, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nan", "only a word such as nan"),
        ("#NAME?", "only a word such as nan"),
        ("[deleted]", "only a word such as nan"),
        ("b'It is so.'", "in b'…'"),
        ("None of them.", None),
        ("b's", None),
    ],
)
def test_what_programs_write_in_place_of_a_text_is_told(prepare, good, text, told):
    warnings = prepare([row | {"rejected": text} if number % 4 else row for number, row in enumerate(good(40))]).metrics.warnings
    assert [one for one in warnings if "only a word such as" in one or "in b'…'" in one] == (
        [one for one in warnings if told in one] if told else []
    )
    assert not told or any(one.startswith("30 pairs") for one in warnings if told in one)


@pytest.mark.parametrize("key", ["weight", "margin", "score_1"])
@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_number_beyond_all_that_are_computed_with_drops_the_row(prepare, good, key, number):
    rows = [{**row, "n": 1, "m": 2} for row in good(40)]
    rows[7]["n"] = number
    sides = ("response_1", "response_2") if key == "score_1" else ("chosen", "rejected")
    names = dict(zip(("prompt", *sides, key), ("prompt", "chosen", "rejected", "n"), strict=True))
    found = prepare(rows, columns=names | ({"score_2": "m"} if key == "score_1" else {})).metrics
    assert found.dropped == {{"weight": "BadWeight", "margin": "BadMargin", "score_1": "BadLabel"}[key]: 1}


@pytest.mark.parametrize("column", ["weight", "margin", "chosen_score"])
def test_a_number_beyond_all_in_a_column_that_is_not_used_is_no_reason(prepare, good, column):
    assert prepare([{**row, "rejected_score": 1, column: 10**400} for row in good(40)]).metrics.dropped == {}


def answers(rows):
    sides = [("chosen", "rejected"), ("rejected", "chosen")]
    return [
        {"prompt": row["prompt"], "answer_1": row[sides[n % 2][0]], "answer_2": row[sides[n % 2][1]], "better": 1 + n % 2}
        for n, row in enumerate(rows)
    ]


@pytest.mark.parametrize("label", [0, 3, "0", "maybe", True, None, 1.5])
def test_43_a_label_outside_the_set_drops_the_row(prepare, good, label):
    rows = answers(good(40))
    rows[0]["better"] = label
    assert prepare(rows).metrics.dropped == {"BadLabel": 1}


def test_43_labels_that_never_change_sides_are_refused(refusal, good):
    assert refusal([{**row, "better": 1} for row in answers(good(40))]).reason == "OneSidedLabels"


def test_44_a_length_rule_that_wins_is_a_warning(prepare, good):
    rows = [{**row, "chosen": row["chosen"] + " and a long way to go on"} for row in good(60)]
    assert any("longer answer wins in 100%" in warning for warning in prepare(rows).metrics.warnings)
    assert not any("answer wins" in warning for warning in prepare(good(60)).metrics.warnings)


def test_in_the_length_rule_equal_lengths_count_half(prepare, good):
    rows = good(60)
    for row in rows[:30]:
        row["rejected"] = row["chosen"][::-1]
    rows[30:] = [{**row, "chosen": row["chosen"] + " and a long way to go on"} for row in rows[30:]]
    assert any("longer answer wins in 75% of the pairs, by characters" in warning for warning in prepare(rows).metrics.warnings)


def test_44_labels_that_contradict_themselves_are_a_warning(prepare, good):
    rows = good(400)
    rows += rows[:14] + [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows[20:30]]
    assert any("of 34 repeated rows contradict" in warning for warning in prepare(rows).metrics.warnings)


def test_45_too_few_rows_for_a_side_are_refused_with_the_side(refusal, good):
    error = refusal(good(8))
    assert (error.reason, error.message) == ("TooFewRows", "heldout would have 1 of 8 usable pairs in 8 groups, at least 2 are needed")


@pytest.mark.parametrize(
    ("fractions", "helps"),
    [
        ({"seed_fraction": 0.25, "heldout_fraction": 0.3}, "raise data.devFraction or data.source.seedFraction, or give more pairs"),
        ({"seed_fraction": 0.03, "heldout_fraction": 0.3}, "raise data.source.seedFraction, or give more pairs"),
        ({"seed_fraction": 0.6, "heldout_fraction": 0.38}, "lower data.source.seedFraction or heldoutFraction, or give more pairs"),
    ],
)
def test_45_the_hint_for_a_side_names_what_gives_it_more(refusal, good, fractions, helps):
    assert refusal(good(20), **fractions).hint == helps


def test_45_one_prompt_of_most_pairs_is_named_and_smaller_sides_help(refusal, prepare, good):
    rows = [{**row, "prompt": "the same"} if number % 10 else row for number, row in enumerate(good(200))]
    error = refusal(rows, heldout_fraction=0.4)
    assert error.hint.startswith(
        "one group has 180 of 200 pairs, which share their prompt and stay on one side: give pairs of more prompts, "
    )
    assert error.hint.endswith("lower data.source.seedFraction and heldoutFraction so far that the other 20 pairs fill both")
    assert prepare(rows, seed_fraction=0.05, heldout_fraction=0.04).metrics.heldout == 8
    assert refusal([{**row, "prompt": "the same"} for row in rows]).hint.endswith("stay on one side: give pairs of more prompts")


def test_45_a_column_that_makes_one_group_of_most_pairs_is_named(refusal, good):
    error = refusal([{**row, "topic": "all"} for row in good(40)], split_by="topic")
    assert error.hint.endswith("which share their topic and stay on one side: give a data.source.splitBy that makes smaller groups")


def test_45_fewer_groups_than_sides_are_told(refusal, good):
    error = refusal([{**row, "annotator": number % 3} for number, row in enumerate(good(60))], split_by="annotator")
    assert error.hint.startswith("pairs that share their annotator stay on one side, and there are 4 sides: give a data.source.splitBy")


def test_45_of_three_files_the_one_with_too_few_rows_is_named(prepare_three, good):
    rows = good(60)
    with pytest.raises(DataError, match=r"dev would have 1 of 3 usable pairs of data.seed in 3 groups") as refused:
        prepare_three(rows[:3], rows[3:40], rows[40:])
    assert refused.value.hint.startswith("give more pairs in data.seed, of more prompts: pairs of one prompt stay together")
    topics = [{**row, "topic": number < 20} for number, row in enumerate(rows)]
    with pytest.raises(DataError, match=r"in 1 group") as refused:
        prepare_three(topics[:20], topics[20:40], topics[40:], split_by="topic")
    assert refused.value.hint.startswith("give more pairs in data.seed, of more groups by topic: pairs of one group stay together")
    with pytest.raises(DataError, match=r"heldout would have 1 of 1 usable pair of data.heldout in 1 group"):
        prepare_three(rows[:20], rows[20:59], rows[59:])


def test_45_no_usable_row_at_all_is_refused_with_the_reason(refusal, good):
    assert refusal([{**row, "rejected": ""} for row in good(40)]).reason == "EmptyAnswer"


def test_46_a_truncated_archive_is_refused_with_the_offset(refusal, good):
    error = refusal(gzip.compress(lines(good(4000)))[:-2000], "data.jsonl.gz")
    assert (error.reason, "decompressed bytes" in error.message) == ("CorruptArchive", True)


def test_46_a_gzip_bomb_is_refused_before_it_fills_anything(refusal):
    error = refusal(gzip.compress(b" " * (40 << 20)), "data.jsonl.gz")
    assert (error.reason, "more than 100 times" in error.message) == ("SuspiciousArchive", True)


def test_46_a_wrong_extension_is_read_by_content_and_noted(prepare, good):
    prepared = prepare(gzip.compress(lines(good(40))), "data.jsonl")
    assert prepared.metrics.found.startswith("jsonl.gz,")
    assert any("data.jsonl holds jsonl.gz" in warning for warning in prepared.metrics.warnings)


def test_47_addresses_and_keys_are_counted_and_never_shown(prepare, prepare_three, good):
    rows = good(80)
    rows[0]["prompt"] = "mail jane.doe@example.org with AKIAABCDEFGHIJKLMNOP"
    rows[1]["chosen"] += " hf_" + "x" * 34
    assert any(warning.startswith("2 pairs with something like an e-mail") for warning in prepare(rows).metrics.warnings)
    with pytest.raises(DataError) as caught:
        prepare_three(rows[:30], rows[30:60], [*rows[60:], {**rows[0], "chosen": "yet another"}])
    assert "jane" not in caught.value.message
    assert "AKIA" not in caught.value.message


def test_a_json_array_on_one_line_may_be_longer_than_a_row(prepare, good, monkeypatch):
    for module in ("rows", "streams", "readers", "json_rows"):
        monkeypatch.setattr(f"ser_core.data.reading.files.{module}.MAX_ROW_BYTES", 2000)
    assert prepare(json.dumps(good(200)).encode(), "pairs.json").metrics.rows == 200


def test_rows_after_a_bad_head_are_read(prepare, good):
    bad = [{"prompt": float("nan"), "chosen": "a", "rejected": "b"}] * 250
    metrics = prepare([*bad, *good(3000)]).metrics
    assert (metrics.rows, metrics.dropped) == (3250, {"NotFinite": 250})


def test_a_lone_surrogate_in_the_column_to_split_by_drops_its_row(prepare, good):
    rows = [{**row, "topic": f"topic {number}"} for number, row in enumerate(good(60))]
    rows[3]["topic"] = "broken \ud83d"
    assert prepare(rows, splitBy="topic").metrics.dropped == {"InvalidUnicode": 1}


def test_a_link_to_nothing_is_named(refusal, write, good):
    folder = write(good(60), "train.jsonl").parent
    (folder / "gone.jsonl").symlink_to(folder / "nowhere")
    assert "gone.jsonl is a link to nothing" in refusal(folder).message


def labelled(values):
    return [{"prompt": f"q {n}", "answer_1": f"one {n}", "answer_2": f"two {n}", "better": value} for n, value in enumerate(values)]


def test_labels_of_0_and_1_are_no_labels_of_one_side(refusal):
    error = refusal(labelled([0, 1] * 40))
    assert (error.reason, "better is '0', expected 1, 2 or tie" in error.message) == ("BadLabel", True)
    assert "maxDropped" not in error.hint


@pytest.mark.parametrize("values", [(1.0, 2.0), ("1.0", "2.0")])
def test_a_label_that_became_a_decimal_number_is_a_label(prepare, values):
    assert prepare(labelled(values * 40)).metrics.dropped == {}


def test_nan_in_a_column_that_is_not_used_is_no_reason_to_drop_a_row(prepare, good):
    assert prepare([{**row, "score": float("nan")} for row in good(60)]).metrics.dropped == {}


def test_a_long_text_is_compared_as_a_short_one_and_takes_little_memory():
    text = "Some \t words\n\nof a \u3000 text. " * 60_000
    tracemalloc.start()
    normal = normal_form(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert normal == " ".join(text.casefold().split()).replace("\u3000", " ")
    assert peak < 12 * len(text)


def test_31_of_half_a_million_keys_the_one_that_occurs_twice_is_found_at_once(prepare, good):
    """Looked for pair by pair it took hours."""
    keys = ", ".join(f'"k{number}": 1' for number in range(400_000))
    rows = "".join(json.dumps(row) + "\n" for row in good(40))
    assert prepare(f'{rows}{{{keys}, "k399999": 1}}\n'.encode()).metrics.dropped == {"DuplicateKey": 1}


def test_30_a_header_of_which_a_name_occurs_twice_is_not_printed_whole(refusal):
    error = refusal(f"{','.join(f'c{number}' for number in range(100_000))},c7\n".encode(), "data.csv")
    assert (error.reason, error.message) == ("DuplicateColumn", "data.csv, line 1: a column name occurs twice: 'c7'")


@pytest.mark.parametrize("white", [" ", "\n", "\t \n"], ids=repr)
def test_32_a_text_of_white_space_is_looked_at_once(prepare, good, white):
    """As messages that are written in a text it was tried in every division, which took hours."""
    rows = [{**row, "prompt": f"{row['prompt']}{white * 3_000_000}x"} for row in good(2)] + [
        {**good(1)[0], "prompt": white * 3_000_000 + "x"}
    ]
    assert prepare(lines([*good(40), *rows])).metrics.rows == 43
