"""No text of somebody else's is a command to the terminal, whatever prints it."""

import io
import json

import pytest
import yaml
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ser_core.cli.views import output
from ser_core.cli.views.terminal import SafeConsole
from ser_core.errors import DataError
from ser_core.shown import shown as as_shown
from ser_core.shown import shown_line

HOSTILE = {
    "a colour": "\x1b[31mred",
    "a title": "\x1b]0;owned\x07",
    "an 8-bit control": "\x9b31m",
    "a line that is overwritten": "good\rbad",
    "a backspace": "bad\x08\x08\x08good",
    "the other direction": "\u202egnp.exe",
    "an isolate": "\u2066a\u2069",
    "a line end of Unicode": "a\u2028error: b",
    "a hidden tag": "a\U000e0041b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_obeys_is_written_out_as_json_does(text):
    assert json.loads(f'"{as_shown(text)}"') == text
    assert as_shown(text).isprintable()


def test_other_texts_stay_as_they_are():
    text = "é 😀 👩‍🔬 ﷺ שלום \t\n"

    assert as_shown(text) == text
    assert shown_line("a\nb") == "a\\u000ab"


def everything(text):
    table = Table("name", title=text)
    table.add_row(text)
    return [text, Text(text, style="red"), table]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_console_obeys_nobody_but_the_command(text):
    console = SafeConsole(file=io.StringIO(), width=100, color_system=None)
    for one in everything(text):
        console.print(one)
    with Progress(console=console, transient=True) as progress:
        progress.console.print(text)

    assert all(character.isprintable() or character == "\n" for character in console.file.getvalue())


def test_colours_of_the_command_stay():
    console = SafeConsole(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Text("wrong\x1b[0m", style="red"))

    assert console.file.getvalue() == "\x1b[31mwrong\\u001b[0m\x1b[0m\n"


def test_a_file_name_adds_no_line_to_an_error(capsys):
    output.print_error(DataError("pairs\nerror: all is well.jsonl: has 0 bytes", hint="a\nb"))

    assert capsys.readouterr().err == "error: pairs\\u000aerror: all is well.jsonl: has 0 bytes\nhint: a\\u000ab\n"


@pytest.mark.parametrize("tell", [output.say, output.print_warning])
def test_nor_to_what_is_said_besides(tell, capsys):
    tell("keep  lab/a\ndelete  lab/b")

    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("form", "read"), [(output.Format.JSON, json.loads), (output.Format.YAML, yaml.safe_load)])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_data_are_the_same_and_harmless(form, read, text, capsys):
    output.print_data({text: text}, form)

    printed = capsys.readouterr().out
    assert read(printed) == {text: text}
    assert as_shown(printed) == printed
