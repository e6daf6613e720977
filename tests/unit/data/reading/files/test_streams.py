"""Lines are read many at once and are those that a line by line reading gives."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser_core.data.reading.dialogues.transcripts import parse_transcript, split_dialogues, split_transcripts
from ser_core.data.reading.files import streams
from ser_core.data.reading.files.rows import DataFile, RowError

LIMIT = 23
PIECES = st.lists(st.sampled_from([b"a", b"b" * 7, b"c" * 15, b"\n", b"\r\n", b"\r", "é".encode(), b" "]), max_size=14)


@given(PIECES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_lines_are_those_between_line_feeds_and_too_long_ones_are_left_out(tmp_path, pieces):
    content = b"".join(pieces)
    path = tmp_path / "lines"
    path.write_bytes(content)
    *whole, last = content.split(b"\n")
    expected = [None if len(line) > LIMIT else line.removesuffix(b"\r").decode() for line in [*whole, *([last] if last else [])]]
    with pytest.MonkeyPatch.context() as small:
        small.setattr(streams, "MAX_ROW_BYTES", LIMIT)
        small.setattr(streams, "_CHUNK", 11)
        assert list(streams.read_lines(DataFile("lines", path), lambda _: None, set())) == expected


TURNS = st.lists(st.sampled_from(["\n\nHuman:", "\n\nAssistant:", " a", " b", "\n", "\n\n"]), max_size=8).map("".join)


def told(split):
    try:
        return split()
    except RowError as error:
        return error.reason, error.detail


@given(TURNS, TURNS, TURNS)
@settings(deadline=None)
def test_two_dialogues_are_split_alike_whether_their_beginning_is_read_once_or_twice(shared, one, other):
    chosen, rejected = (f"\n\nHuman: x{shared}\n\nAssistant:{end}" for end in (one, other))
    assert told(lambda: split_transcripts(chosen, rejected)) == told(
        lambda: split_dialogues(parse_transcript(chosen), parse_transcript(rejected))
    )
