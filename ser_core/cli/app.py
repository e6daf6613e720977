"""The `ser` command. Heavy libraries are imported inside the commands that need them: `ser --help` and `ser status` start at once."""

import errno
import os
import signal
import sys
import tempfile
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from ser_core.cli.commands.changing.purge import purge
from ser_core.cli.commands.changing.retry import retry
from ser_core.cli.commands.changing.run import run
from ser_core.cli.commands.changing.suspend import resume, suspend
from ser_core.cli.commands.changing.sweep import sweep
from ser_core.cli.commands.reading.diff import diff
from ser_core.cli.commands.reading.evolution import evolution
from ser_core.cli.commands.reading.export import export
from ser_core.cli.commands.reading.logs import logs
from ser_core.cli.commands.reading.report import report
from ser_core.cli.commands.reading.score import score
from ser_core.cli.commands.reading.status import status
from ser_core.cli.commands.reading.suggest import suggest
from ser_core.cli.commands.reading.validate import validate
from ser_core.cli.commands.reading.why import why
from ser_core.cli.views.output import print_error, say
from ser_core.errors import SERError, SpecError, UsageError, is_disk_full
from ser_core.full_disk import said_by
from ser_core.version import VERSION


def _examples(*lines: str) -> str:
    """An epilog that keeps its lines."""
    return "\n".join(("\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)))


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples("ser validate serrun.yaml", "ser run serrun.yaml", "ser evolution serrun.yaml", "kubectl ser status hh -n lab"),
)


@app.callback(invoke_without_command=True)
def ser(show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False) -> None:
    """Self-evolved reward learning: a reward model that labels its own training data."""
    if show_version:
        print(VERSION)
        raise typer.Exit
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise SpecError("the folder that you are in has been deleted", reason="FolderGone", hint="cd to another one") from error


app.command(epilog=_examples("ser validate serrun.yaml && ser run serrun.yaml", "ser validate serrun.yaml --server -n lab"))(validate)
app.command(epilog=_examples("ser run serrun.yaml", "ser run serrun.yaml --json > events.jsonl"))(run)
app.command(epilog=_examples("ser status serrun.yaml", "ser status hh -n lab --watch", "ser status hh -o json | jq .status.phase"))(status)
app.command(epilog=_examples("ser why serrun.yaml", "ser why hh -n lab"))(why)
app.command(epilog=_examples("ser evolution serrun.yaml", "ser evolution hh -n lab -o json | jq '.iterations[].accuracy'"))(evolution)
app.command(epilog=_examples("ser diff hh hh-paper -n lab", "ser diff one.yaml other.yaml"))(diff)
app.command(epilog=_examples("ser report serrun.yaml -o report.html", "ser report hh -n lab"))(report)
app.command(
    epilog=_examples(
        "ser sweep serrun.yaml --set training.seed=0..4 --set loop.rule=paper,calibrated",
        "ser sweep serrun.yaml --set 'loop.controls=[],[full]' -n lab --parallel 3",
    )
)(sweep)
app.command(epilog=_examples("ser logs serrun.yaml", "ser logs hh -n lab --iteration 1 --stage retrain"))(logs)
app.command(epilog=_examples("ser suspend hh -n lab"))(suspend)
app.command(epilog=_examples("ser resume hh -n lab"))(resume)
app.command(epilog=_examples("ser retry hh -n lab", "ser retry serrun.yaml && ser run serrun.yaml"))(retry)
app.command(epilog=_examples("ser score pairs.jsonl --run serrun.yaml > out.jsonl", "zcat pairs.gz | ser score - --run serrun.yaml"))(score)
app.command(epilog=_examples("ser suggest serrun.yaml --pairs 50", "ser suggest hh -n lab -o hh-next"))(suggest)
app.command(epilog=_examples("ser export serrun.yaml reward-model"))(export)
app.command(epilog=_examples("ser purge serrun.yaml", "ser purge serrun.yaml follower.yaml"))(purge)


_ParserError: Any = typer.BadParameter.__base__  # typer brings its own copy of click, under a private name
EXIT_UNREAD = 128 + signal.SIGPIPE
"""As of a program that the kernel ends, since nobody reads on what it writes: `ser score … | head` is no failure of `ser`."""


def main() -> None:
    """Entry point of `ser`: an expected error becomes two lines on standard error and its exit code, never a traceback."""
    program = "kubectl ser" if Path(sys.argv[0]).name == "kubectl-ser" else "ser"
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who has started it: what is said goes nowhere
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not know every sign of a text
    output = sys.stdout
    try:
        code = app(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except SystemExit:
        if sys.stdout is output:
            raise
        sys.exit(EXIT_UNREAD)  # typer has found the pipe closed, and put a stream in its place that says nothing more
    except SERError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except typer.Abort:
        say("aborted")
        sys.exit(1)
    except _ParserError as error:
        _print_usage_error(error, program)
        sys.exit(UsageError.exit_code)
    except Exception as error:  # libraries in Rust say by a plain one that a disk is full
        number = error.errno if isinstance(error, OSError) else None
        if not (is_disk_full(error) or number in (errno.EFBIG, errno.EPIPE)):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries to write the rest once more
        if number == errno.EPIPE:
            sys.exit(EXIT_UNREAD)
        _print_unwritten(error)
        sys.exit(1)


def _print_unwritten(error: Exception) -> None:
    hint = f"free some space where it goes, and in {tempfile.gettempdir()}, or let TMPDIR name another folder for temporary files"
    print_error(SERError(f"the output cannot be written: {said_by(error)}", hint=hint))


def _print_usage_error(error: Any, program: str) -> None:
    if len(sys.argv) == 1:  # nothing was asked: the help
        error.show()
        return
    command = error.ctx.command_path if error.ctx is not None else program
    message = str(error.format_message()).removesuffix(".").replace("Value error, ", "")
    print_error(UsageError(message[:1].lower() + message[1:], hint=f"{command} --help"))


if __name__ == "__main__":
    main()
