"""Subsets and splits that a dataset's card names."""

import pytest

from ser_core.api.spec.data import FileSpec
from ser_core.data.reading.hub.dataset_card import subsets_of
from ser_core.data.reading.sources import open_source
from ser_core.errors import DataError

ROW = '{"prompt": "p", "chosen": "a", "rejected": "b"}\n'
FILES = (
    *("raw/part-1.jsonl", "raw/part-2.jsonl", "raw/held.jsonl", "raw/deep/part-3.jsonl"),
    *("en/train.jsonl", "en/test.jsonl", "fr/train.jsonl", "fr/test.jsonl", "old/x-[1].jsonl"),
)
BOTH = """\
- config_name: english
  default: true
  data_files:
  - {split: train_prefs, path: en/train.jsonl}
  - {split: test_prefs, path: [en/test.jsonl]}
- config_name: mixed
  data_files:
  - split: train
    path: ["raw/part-*.jsonl", "fr/*ain.jsonl"]
  - split: validation
    path: "raw/h?ld.jsonl"
"""
DEEP = """\
- config_name: all
  data_files:
    train: "raw/**"
    test: "*/[st]est.jsonl"
"""
FOLDER = """\
- config_name: french
  data_dir: fr
  data_files: "*.jsonl"
"""
TEXT = "- {config_name: default, data_files: raw/held.jsonl}\n- {config_name: other, data_files: fr/test.jsonl}\n"


@pytest.fixture
def repository(tmp_path):
    def with_card(configs, head="---\n", end="\n---\nThe *card*.\n"):
        folder = tmp_path / "repository"
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(ROW)
        (folder / "README.md").write_text(f"{head}license: mit\nconfigs:\n{configs}{end}")
        return folder

    return with_card


@pytest.fixture
def read(access, tmp_path):
    def names(folder, **place):
        uri = f"file://{folder}"
        source = open_source(uri, access, tmp_path / "downloads", lambda: None, FileSpec(uri=uri, **place))
        return [file.name for file in source.files]

    return names


@pytest.mark.parametrize(
    ("configs", "subset", "split", "files"),
    [
        (BOTH, None, None, ["en/train.jsonl"]),
        (BOTH, None, "test_prefs", ["en/test.jsonl"]),
        (BOTH, "english", "train_prefs", ["en/train.jsonl"]),
        (BOTH, "mixed", None, ["fr/train.jsonl", "raw/part-1.jsonl", "raw/part-2.jsonl"]),
        (BOTH, "mixed", "validation", ["raw/held.jsonl"]),
        (DEEP, None, None, ["raw/deep/part-3.jsonl", "raw/held.jsonl", "raw/part-1.jsonl", "raw/part-2.jsonl"]),
        (DEEP, None, "test", ["en/test.jsonl", "fr/test.jsonl"]),
        (FOLDER, None, None, ["fr/test.jsonl", "fr/train.jsonl"]),
        (TEXT, None, None, ["raw/held.jsonl"]),
        (TEXT, "other", "train", ["fr/test.jsonl"]),
    ],
)
def test_the_files_of_the_subset_and_split_are_read(repository, read, configs, subset, split, files):
    assert read(repository(configs), subset=subset, split=split) == files


@pytest.mark.parametrize(
    ("configs", "place", "words"),
    [
        (BOTH, {"subset": "german"}, "no subset 'german'; its card names english, mixed"),
        (BOTH, {"split": "train"}, "no split 'train'; its card names train_prefs, test_prefs"),
        (BOTH, {"subset": "mixed", "split": "test"}, "no split 'test'; its card names train, validation"),
        (BOTH.replace("  default: true\n", ""), {}, "no subset 'default'; its card names english, mixed"),
        (BOTH.replace("en/train.jsonl", "en/gone-*"), {}, "no file is as its card names those of the split train_prefs, but en/test.jsonl"),
        (TEXT.replace("held", "gone").replace("- {config_name: other", "# "), {}, "no file is as its card names"),
    ],
)
def test_what_the_card_does_not_name_is_refused_with_what_it_names(repository, read, configs, place, words):
    with pytest.raises(DataError) as caught:
        read(repository(configs), **place)
    assert (caught.value.reason, words in caught.value.message, "name one" in caught.value.hint) == ("DataNotFound", True, True)


def test_a_file_that_is_named_itself_is_read_whatever_the_card_says(repository, read):
    assert read(repository(BOTH), path="fr/test.jsonl") == ["fr/test.jsonl"]


def test_a_subset_that_is_a_folder_alone_has_the_splits_of_its_files(repository, read):
    folder = repository("- {config_name: fr, data_dir: fr}\n- {config_name: en, data_dir: en}\n")
    assert (read(folder, subset="fr"), read(folder, subset="en", split="test")) == (["fr/train.jsonl"], ["en/test.jsonl"])


def test_files_of_other_splits_are_told(repository, access, tmp_path):
    folder = repository(BOTH)
    assert open_source(f"file://{folder}", access, tmp_path / "downloads", lambda: None).left_out == ("en/test.jsonl",)


@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"a card without a head",
        b"---\nlicense: mit\n---\n",
        b"---\nconfigs: [\n---\n",
        b"---\nconfigs: 3\n---\n",
        b"---\nconfigs: [[1], {}]\n---\n",
        b"---\nconfigs:\n- data_files: [[3]]\n---\n",
        b"---\nconfigs: " + b"[" * 100_000 + b"\n---\n",
        b"---\na: &a [" + b"x," * 200 + b"]\nconfigs:\n- data_files: {" + b",".join(b"s%d: *a" % n for n in range(200)) + b"}\n---\n",
        b"---\nconfigs: !!python/object/apply:os.system [ls]\n---\n",
        b"\xff\xfe---\n",
    ],
)
def test_what_is_no_list_of_subsets_says_nothing(card):
    assert subsets_of(card) == ()


def test_a_card_with_a_byte_order_mark_and_crlf_is_read():
    (subset,) = subsets_of(b"\xef\xbb\xbf---\r\nconfigs:\r\n- config_name: a\r\n  data_files: x.csv\r\n---\r\ntext")
    assert (subset.name, subset.files(["x.csv", "y.csv"])) == ("a", ["x.csv"])


def test_patterns_of_many_stars_take_no_time():
    (subset,) = subsets_of(("---\nconfigs:\n- data_files: '" + "**/*a*a*a*a*a*a*b/" * 30 + "*'\n---\n").encode())
    assert subset.files(["/".join(["a" * 200] * 60)]) == []


@pytest.mark.parametrize(
    "number", ["1" + ":1" * 100_000, "1" + ":1" * 400 + ".0", "!!float 1" + ":1" * 400, "9" * 5000, "2001-99-99", "1.10"]
)
def test_a_number_in_a_card_is_a_word(number):
    (subset,) = subsets_of(f"---\nconfigs:\n- config_name: {number}\n  data_files: x.csv\n---\n".encode())
    assert subset.name == number.removeprefix("!!float ")


def test_a_card_that_refers_to_one_list_again_and_again_says_nothing():
    files = "\n".join(f"  - {{split: train, path: '{number}.jsonl'}}" for number in range(1000))
    again = "\n".join("- *one" for _ in range(2000))
    card = f"---\nfirst: &one\n  config_name: a\n  data_files:\n{files}\nconfigs:\n{again}\n---\n"
    assert len(subsets_of(card.replace("\n- *one" * 1995, "").encode())) == 5
    assert subsets_of(card.encode()) == ()
