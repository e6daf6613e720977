"""How commands talk: data on standard output, everything else on standard error, errors as ``error: …`` and ``hint: …``.

Colour follows rich's rules: only on a terminal, never with ``NO_COLOR``.
"""

import json
import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ser_core.cli.views.terminal import SafeConsole
from ser_core.errors import SERError
from ser_core.shown import shown, shown_line

OF_SEVERAL_LINES = frozenset({"InvalidSERRun", "ImmutableField"})
"""Reasons of errors that list one problem a line; what others have written stands in quotes there."""
PIPE_COLUMNS = 120
"""Width of tables that go to a file or a pipe, unless ``COLUMNS`` says otherwise."""


class Format(StrEnum):
    """Form of a command's data."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Form of the output.", show_default=False)]


def standard_output(pipe_columns: int = PIPE_COLUMNS) -> Console:
    """Console for data. Text is printed as it is, without markup or highlighting."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else pipe_columns
    return SafeConsole(width=width, markup=False, highlight=False, emoji=False)


def standard_error() -> Console:
    """Console for messages. Long lines are left to the terminal, so that messages can be copied and searched."""
    return SafeConsole(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say(message: str) -> None:
    """One line of talk."""
    standard_error().print(shown_line(message))


def print_error(error: SERError) -> None:
    """What is wrong, and what to do about it."""
    console = standard_error()
    message = error.message if error.reason in OF_SEVERAL_LINES else shown_line(error.message)
    console.print(Text.assemble(("error", "bold red"), f": {message}"))
    if error.hint:
        console.print(Text.assemble(("hint", "bold cyan"), f": {shown_line(error.hint)}"))


def print_warning(message: str) -> None:
    """Something that the user should know but that stops nothing."""
    standard_error().print(Text.assemble(("warning", "bold yellow"), f": {shown_line(message)}"))


def print_data(value: Any, form: Format) -> None:
    """``value``, which JSON can say, as indented JSON or as YAML."""
    if form is Format.YAML:
        import yaml

        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
        harmless = text == shown(text)
        print(text if harmless else yaml.safe_dump(value, sort_keys=False, width=1000), end="")
    else:
        print(shown(json.dumps(value, indent=2, ensure_ascii=False)))
