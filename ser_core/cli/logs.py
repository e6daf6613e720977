"""`ser logs`: what the stages said, from the logs that they stored beside their results."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ser_core.api.stage import RunIdentity
from ser_core.api.status import StageKind
from ser_core.cli.output import say, standard_output
from ser_core.cli.stored_run import AsJson, RunFile, StoredRun, open_run
from ser_core.store.manifest import stage_prefix

Iteration = Annotated[int | None, typer.Option("--iteration", "-i", min=0, help="Only this iteration (0: prepare, seed model, controls).")]
Stage = Annotated[StageKind | None, typer.Option("--stage", "-s", help="Only this kind of stage.")]

_LOG = re.compile(r"/iter-(\d{4})/([a-z-]+)/attempt-(\d+)-[0-9a-f]+/log\.jsonl$")
_ORDER = (StageKind.PREPARE, StageKind.LABEL, StageKind.FILTER, StageKind.RETRAIN)


@dataclass(frozen=True, slots=True)
class StoredLog:
    """The log of one attempt."""

    key: str
    iteration: int
    stage: StageKind
    attempt: int

    @property
    def place(self) -> tuple[int, int, str, int]:
        """Order in which the stages ran; controls come last."""
        known = self.stage in _ORDER
        return (self.iteration if known else 10_000, _ORDER.index(self.stage) if known else 0, self.stage.value, self.attempt)


def logs(file: RunFile, iteration: Iteration = None, stage: Stage = None, as_json: AsJson = False) -> None:
    """Show what the stages said.

    In their order, failed attempts included; --json prints the stored lines as they are.
    """
    stored = open_run(file)
    found = [log for log in stored_logs(stored) if iteration in (None, log.iteration) and stage in (None, log.stage)]
    if not found:
        say("no stage of that kind has stored a log yet; a stage stores it when it ends")
    console = standard_output()
    for log in found:
        name = f"{log.stage.value}-{log.iteration}" + (f" attempt {log.attempt}" if log.attempt > 1 else "")
        for line in stored.store.get(log.key).decode(errors="replace").splitlines():
            if as_json:
                print(line)
            elif (text := readable(line)) is not None:
                console.print(f"{name:<28} {text}", soft_wrap=True)


def stored_logs(stored: StoredRun) -> list[StoredLog]:
    """All logs of a run, in the order of the stages."""
    metadata = stored.run.metadata
    identity = RunIdentity(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
    prefix = stage_prefix(identity, 0, StageKind.PREPARE).partition("iter-")[0]
    return sorted(_parse(key.key for key in stored.store.list(prefix)), key=lambda log: log.place)


def _parse(keys: Iterator[str]) -> Iterator[StoredLog]:
    kinds = {kind.value: kind for kind in StageKind}
    for key in keys:
        match = _LOG.search(key)
        if match and match[2] in kinds:
            yield StoredLog(key, int(match[1]), kinds[match[2]], int(match[3]))


def readable(line: str) -> str | None:
    """One event as ``time event name=value …``; None for progress, which is of no use afterwards; other text as it is."""
    try:
        event: dict[str, Any] = json.loads(line)
        moment, name = str(event.pop("time"))[:19], event.pop("event")
    except (ValueError, KeyError, AttributeError, TypeError):
        return line
    if name == "progress":
        return None
    fields = (f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for key, value in event.items())
    return " ".join((moment, name, *fields))
