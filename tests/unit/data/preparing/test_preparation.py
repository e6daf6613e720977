import pytest

from ser_core.api.spec.data import DataSpec, FileSpec, SourceSpec
from ser_core.data.preparing.pairs.spool import read_spool
from ser_core.data.preparing.preparation import inspect
from ser_core.data.preparing.sides import write_sides
from ser_core.data.tables import HiddenLabel, LabeledPair, PairGroup, PoolPair, read_table
from ser_core.errors import DataError

TABLES = {"seed.parquet": LabeledPair, "dev.parquet": LabeledPair, "heldout.parquet": LabeledPair, "pool.parquet": PoolPair}


@pytest.fixture
def tables(tmp_path):
    count = iter(range(100))

    def written(prepared, seed=0):
        folder = tmp_path / f"tables{next(count)}"
        folder.mkdir()
        files = write_sides(prepared, seed, folder)
        kinds = {**TABLES, "groups.parquet": PairGroup, "pool_groups.parquet": PairGroup, "pool_labels.parquet": HiddenLabel}
        return {name: read_table(path, kinds[name]) for name, path in files.items()}, {
            name: path.read_bytes() for name, path in files.items()
        }

    return written


def test_one_source_becomes_four_sides_and_the_labels_of_the_pool(prepare, tables, good):
    written, _ = tables(prepare(good(200)))
    assert {name: len(rows) for name, rows in written.items()} == {
        "seed.parquet": 22,
        "dev.parquet": 8,
        "heldout.parquet": 20,
        "groups.parquet": 50,
        "pool.parquet": 150,
        "pool_labels.parquet": 150,
    }
    assert all(pair.chosen.startswith("right") for side in ("seed", "dev", "heldout") for pair in written[f"{side}.parquet"])


def test_labelled_pairs_of_one_prompt_are_of_one_group(prepare, tables, good):
    rows = [{**row, "prompt": f"prompt {number // 4}"} for number, row in enumerate(good(200))]
    written, _ = tables(prepare(rows))
    group = {one.id: one.group for one in written["groups.parquet"]}
    by_prompt = {}
    for side in ("seed", "dev", "heldout"):
        for pair in written[f"{side}.parquet"]:
            by_prompt.setdefault(pair.prompt, set()).add(group[pair.id])
    assert all(len(groups) == 1 for groups in by_prompt.values())
    assert len(set(group.values())) == len(by_prompt)


def test_the_hidden_label_names_the_better_answer_and_the_sides_are_mixed(prepare, tables, good):
    written, _ = tables(prepare(good(200)))
    better = {label.id: label.better for label in written["pool_labels.parquet"]}
    assert all((pair.answer_1, pair.answer_2)[better[pair.id] - 1].startswith("right") for pair in written["pool.parquet"])
    assert 45 < list(better.values()).count(1) < 105


def test_turning_every_label_over_changes_no_side_and_no_pool(prepare, tables, good):
    rows = good(200)
    turned = [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    (one, _), (other, _) = tables(prepare(rows)), tables(prepare(turned))
    assert one["pool.parquet"] == other["pool.parquet"]
    for side in ("seed", "dev", "heldout"):
        pairs = zip(one[f"{side}.parquet"], other[f"{side}.parquet"], strict=True)
        assert all((pair.id, pair.chosen, pair.rejected) == (twin.id, twin.rejected, twin.chosen) for pair, twin in pairs)


def test_the_same_rows_in_another_order_and_in_shards_give_the_same_bytes(prepare, tables, write, good, tmp_path):
    rows = good(200)
    write(rows[120:], "shards/a.jsonl")
    write(rows[:120], "shards/b.jsonl")
    whole, shards = prepare(write(rows, "shards.jsonl")), prepare(tmp_path / "in" / "shards")
    assert tables(whole)[1] == tables(shards)[1]


def test_a_value_to_split_by_is_the_same_as_whole_number_and_as_decimal(prepare, write, good):
    """Tables have no whole numbers in a column with empty cells."""
    write([{**row, "topic": number % 20} for number, row in enumerate(good(40))], "topics/a.jsonl")
    folder = write(
        [{**row, "prompt": f"other {row['prompt']}", "topic": float(number % 20)} for number, row in enumerate(good(40))], "topics/b.jsonl"
    ).parent
    prepared = prepare(folder, split_by="topic", heldout_fraction=0.3)
    heldout = {pair.prompt.removeprefix("other ") for pair in read_spool(prepared.spool, prepared.sides["heldout"])}
    others = {
        pair.prompt.removeprefix("other ") for side in ("seed", "dev", "pool") for pair in read_spool(prepared.spool, prepared.sides[side])
    }
    assert heldout and not heldout & others


def test_a_pair_that_stands_under_two_values_is_in_the_group_of_both_whatever_the_order(prepare, tables, good):
    rows = [{**row, "topic": f"{topic} {number // 4}"} for number, row in enumerate(good(200)) for topic in ("one", "other")]
    alone = [{**row, "prompt": f"more {row['prompt']}"} for row in rows[::8]]
    forwards, backwards = prepare([*rows, *alone], split_by="topic"), prepare([*rows, *alone][::-1], split_by="topic")
    assert tables(forwards)[1] == tables(backwards)[1]
    sides = {side: {pair.prompt.removeprefix("more ") for pair in read_spool(forwards.spool, at)} for side, at in forwards.sides.items()}
    assert not sides["heldout"] & (sides["seed"] | sides["dev"] | sides["pool"])


def test_another_seed_gives_another_split(prepare, good):
    def ids(prepared):
        return {pair.id for pair in read_spool(prepared.spool, prepared.sides["seed"])}

    assert ids(prepare(good(200))) != ids(prepare(good(200), seed=1))


def test_three_files_with_an_unlabelled_pool(prepare_three, tables, good):
    rows = good(120)
    unlabeled = [{"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"]} for row in rows[40:90]]
    prepared = prepare_three(rows[:40], unlabeled, rows[90:])
    written, _ = tables(prepared)
    assert {name: len(table) for name, table in written.items()} == {
        "seed.parquet": 30,
        "dev.parquet": 10,
        "heldout.parquet": 30,
        "groups.parquet": 70,
        "pool.parquet": 50,
    }
    assert not prepared.metrics.hidden_labels
    assert prepared.metrics.found.startswith("seed: jsonl, preference pairs with explicit prompt, text; unlabeled: jsonl, unlabelled pairs")


def test_a_pool_pair_with_the_prompt_of_a_labelled_one_is_in_its_group(prepare_three, tables, good):
    rows = good(120)
    shared = {"prompt": rows[3]["prompt"].upper(), "chosen": "another", "rejected": "none"}
    written, _ = tables(prepare_three(rows[:40], [*rows[40:90], shared], rows[90:]))
    (extra,) = {one.id for one in written["groups.parquet"]} & {one.id for one in written["pool.parquet"]}
    (seed,) = [one for name in ("seed", "dev") for one in written[f"{name}.parquet"] if one.prompt == rows[3]["prompt"]]
    group = {one.id: one.group for one in written["groups.parquet"]}
    assert group[extra] == group[seed.id]


def test_pairs_of_three_files_that_share_the_column_to_split_by_are_of_one_group(prepare_three, tables, good):
    rows = [{**row, "topic": number % 20} for number, row in enumerate(good(100))]
    heldout = [{**row, "prompt": f"other {row['prompt']}", "topic": number % 20 + 15} for number, row in enumerate(good(60))]
    prepared = prepare_three(rows[:50], rows[50:], heldout, split_by="topic")
    written, _ = tables(prepared)
    topic = {row["prompt"]: row["topic"] for row in (*rows, *heldout)}
    topics = {side: {topic[pair.prompt] for pair in written[f"{side}.parquet"]} for side in ("seed", "dev")}
    assert topics["dev"] and not topics["seed"] & topics["dev"]
    group = {one.id: one.group for name in ("groups.parquet", "pool_groups.parquet") for one in written[name]}
    pairs = [pair for name in TABLES for pair in written[name]]
    assert len({(group[pair.id], topic[pair.prompt]) for pair in pairs}) == len(set(group.values())) == 35
    assert {pair.id for pair in written["pool.parquet"]} <= {one.id for one in written["groups.parquet"]}
    assert prepared.metrics.shared_prompts == 20
    assert any(
        told.startswith("5 groups by topic of data.heldout also in data.seed or data.unlabeled") and "that of heldout.jsonl, line " in told
        for told in prepared.metrics.warnings
    )


@pytest.mark.parametrize("written", ["{}.0", " {}.00 ", "{}"])
def test_a_whole_number_to_split_by_is_the_same_however_a_table_writes_it(prepare_three, good, written):
    rows = [{**row, "topic": number % 4} for number, row in enumerate(good(100))]
    seed = [{**row, "topic": written.format(row["topic"])} for row in rows[:40]]
    warnings = prepare_three(seed, [{**row, "topic": 4} for row in rows[40:70]], rows[70:], split_by="topic").metrics.warnings
    assert any("4 groups by topic of data.heldout also in data.seed" in told for told in warnings)


def test_a_pair_of_the_pool_may_hold_two_topics_of_the_seed_together(prepare_three, tables, good):
    rows = [{**row, "topic": number} for number, row in enumerate(good(100))]
    rows[50] |= {"prompt": rows[3]["prompt"], "topic": 4}
    written, _ = tables(prepare_three(rows[:40], rows[40:70], rows[70:], split_by="topic"))
    group = {one.id: one.group for one in written["groups.parquet"]}
    seed = {pair.prompt: group[pair.id] for side in ("seed", "dev") for pair in written[f"{side}.parquet"]}
    assert seed[rows[3]["prompt"]] == seed[rows[4]["prompt"]] != seed[rows[5]["prompt"]]


@pytest.mark.parametrize(("rows", "looked_at"), [(120, 120), (240, 200)])
def test_a_sample_has_two_hundred_pairs_or_all(write, access, good, rows, looked_at):
    data = DataSpec(source=SourceSpec(uri=f"file://{write(good(rows), 'pairs.jsonl')}"))
    sample = inspect(data, 0, access, turns=False).sample
    assert len({pair.id for pair in sample}) == len(sample) == looked_at


def test_prompts_of_the_seed_in_the_pool_are_counted(write, access, good):
    rows = good(120)
    rows[50]["prompt"] = rows[3]["prompt"]
    parts = {"seed": rows[:40], "unlabeled": rows[40:90], "heldout": rows[90:]}
    data = DataSpec(**{name: FileSpec(uri=f"file://{write(part, f'{name}.jsonl')}") for name, part in parts.items()})
    assert inspect(data, 0, access, turns=False).metrics.shared_prompts == 1


def test_labels_found_in_the_unlabeled_file_are_hidden(prepare_three, tables, good):
    rows = good(120)
    written, _ = tables(prepare_three(rows[:40], rows[40:90], rows[90:]))
    assert len(written["pool_labels.parquet"]) == 50


def test_a_pool_pair_that_the_seed_holds_leaves_the_pool_whatever_its_label(prepare_three, good):
    rows = good(120)
    turned = {"prompt": rows[0]["prompt"], "chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]}
    prepared = prepare_three(rows[:40], [turned, *rows[40:90]], rows[90:])
    assert (prepared.metrics.pool, prepared.metrics.dropped) == (50, {"Duplicate": 1})
    assert prepared.metrics.seed + prepared.metrics.dev == 40


def test_a_bad_small_file_does_not_hide_behind_a_good_large_one(prepare_three, good):
    rows = good(400)
    with pytest.raises(DataError, match=r"10 of 20 rows of data\.seed"):
        prepare_three([*rows[:10], *({**row, "chosen": ""} for row in rows[10:20])], rows[20:350], rows[350:])


def test_a_dominant_group_and_small_sides_are_warnings(prepare, good):
    rows = good(200)
    for row in rows[:80]:
        row["prompt"] = "one and the same"
    warnings = " | ".join(prepare(rows).metrics.warnings)
    assert "holds 40% of the pairs" in warnings
    assert all(text in warnings for text in ("the seed has 30 pairs", "heldout has 20 pairs"))


def test_provenance_pins_every_file(prepare, good):
    provenance = prepare(good(200), "pairs.jsonl").provenance["source"]
    assert (provenance["rows"], provenance["files"][0]["name"], len(provenance["files"][0]["sha256"])) == (200, "pairs.jsonl", 64)
