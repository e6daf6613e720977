"""`ser logs`: the logs of the stages, from their pods while those exist, else from the logs that they stored beside their results."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from ser_core.api.stage import RunIdentity
from ser_core.api.status import StageKind
from ser_core.cli.access.cluster import ATTEMPT, ITERATION, POD_INDEX, STAGE, Cluster
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import JsonLines, StoredRun, Target, open_run
from ser_core.cli.views.output import print_warning, say, standard_output
from ser_core.errors import ClusterError, SpecError, StoreError
from ser_core.shown import shown
from ser_core.store.stages.manifest import stage_prefix

IterationOption = Annotated[
    int | None,
    typer.Option(
        "--iteration", "--loop", "-i", "-l", min=0, help="Only this loop (0: prepare, seed model, policy, controls).", show_default=False
    ),
]
StageOption = Annotated[StageKind | None, typer.Option("--stage", "-s", help="Only this kind of stage.", show_default=False)]

_LOG = re.compile(r"/iter-(\d{4})/([a-z-]+)/attempt-(\d+)-[0-9a-f]+/log(?:-rank-(\d{4}))?\.jsonl$")
_IN_LOOP = (StageKind.PREPARE, StageKind.LABEL, StageKind.FILTER, StageKind.RETRAIN)
_KINDS = {kind.value: kind for kind in StageKind}
_NAME_CELLS = 28


@dataclass(frozen=True, slots=True)
class StageLog:
    """The log of one attempt."""

    iteration: int
    stage: StageKind
    attempt: int
    read: Callable[[], str]
    """Fetches it."""
    index: str = ""
    """Of its pod among those of the attempt."""
    rank: int = 0
    """Of the process that stored it among those of the attempt."""

    @property
    def identity(self) -> tuple[int, StageKind, int]:
        """Whose log it is."""
        return self.iteration, self.stage, self.attempt

    @property
    def place(self) -> tuple[int, int, int, str, int]:
        """Order in which the stages ran; what follows the loops comes last."""
        loop = self.iteration if self.stage in _IN_LOOP else 10_000
        return loop, list(StageKind).index(self.stage), self.attempt, self.index.zfill(4), self.rank

    @property
    def name(self) -> str:
        """What stands before its lines."""
        attempt = f" attempt {self.attempt}" if self.attempt > 1 else ""
        pod = f" pod {self.index}" if self.index not in ("", "0") else ""
        rank = f" rank {self.rank}" if self.rank else ""
        return f"{self.stage.value}-{self.iteration}{attempt}{pod}{rank}"


def logs(
    run: Target,
    iteration: IterationOption = None,
    stage: StageOption = None,
    json_lines: JsonLines = False,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show the logs of the stages.

    In their order, failed attempts included; --json prints the lines as the stages wrote them. The exit code is 1 where the loop or kind
    of stage that is asked for has none.
    """
    stored = open_run(run, Place(namespace, context, kubeconfig))
    wanted = (log for log in _all_logs(stored) if iteration in (None, log.iteration) and stage in (None, log.stage))
    found = sorted(wanted, key=lambda log: log.place)
    if not found:
        ended = stored.run.status.has_ended
        say("no such stage has written a log" + ("" if ended else " yet" if stored.cluster else " yet; a stage stores it when it ends"))
        if (iteration, stage) != (None, None):
            raise typer.Exit(1)
    for log in found:
        _print(log, json_lines=json_lines)


def _print(log: StageLog, *, json_lines: bool) -> None:
    try:
        content = log.read()
    except ClusterError as error:  # a pod that has not begun has no log, and one may go at any time
        print_warning(f"{log.name}: {error.message}")
        return
    for line in map(bytes.decode, content.encode().splitlines()):  # Unicode has more line ends, and JSON keeps them within a text
        if json_lines:
            print(shown(line))
        elif (text := readable(line)) is not None:
            beside = text.replace("\n", f"\n{' ' * (_NAME_CELLS + 1)}")  # no line of a text looks like one of the log
            standard_output().print(f"{log.name:<{_NAME_CELLS}} {beside}", soft_wrap=True)


def _all_logs(stored: StoredRun) -> list[StageLog]:
    """Every attempt once: its pod's log where there is a pod."""
    if stored.cluster is None:
        return stored_logs(stored)
    live = pod_logs(stored.cluster, stored.cluster.pods(stored.run.metadata.uid))
    try:
        known = {log.identity for log in live}
        return [*live, *(log for log in stored_logs(stored) if log.identity not in known)]
    except (StoreError, SpecError) as error:
        if not live:
            raise
        print_warning(f"stages whose pods are gone are left out, since the store cannot be read: {error.message}")
        return live


def pod_logs(cluster: Cluster, pods: Iterable[Mapping[str, Any]]) -> list[StageLog]:
    """Logs of the pods of a run, in the order in which they were made. An attempt has several pods if it has several nodes."""
    found: list[StageLog] = []
    for pod in sorted(pods, key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), str(pod["metadata"]["name"]))):
        labels, name = pod["metadata"].get("labels", {}), str(pod["metadata"]["name"])
        if labels.get(STAGE) in _KINDS and str(labels.get(ITERATION)).isdigit() and str(labels.get(ATTEMPT)).isdigit():
            index = str(pod["metadata"].get("annotations", {}).get(POD_INDEX, ""))
            read = partial(cluster.log, name)
            found.append(StageLog(int(labels[ITERATION]), _KINDS[labels[STAGE]], int(labels[ATTEMPT]), read, index))
    return found


def stored_logs(stored: StoredRun) -> list[StageLog]:
    """All logs in the store of a run."""
    prefix = stage_prefix(RunIdentity.of(stored.run.metadata), 0, StageKind.PREPARE).partition("iter-")[0]
    return list(_parse(stored, (entry.key for entry in stored.store.list(prefix))))


def _parse(stored: StoredRun, keys: Iterator[str]) -> Iterator[StageLog]:
    for key in keys:
        match = _LOG.search(key)
        if match and match[2] in _KINDS:
            read = partial(_text, stored, key)
            yield StageLog(int(match[1]), _KINDS[match[2]], int(match[3]), read, rank=int(match[4] or 0))


def _text(stored: StoredRun, key: str) -> str:
    return stored.store.get(key).decode(errors="replace")


def readable(line: str) -> str | None:
    """One event as ``time event name=value …``; None for progress, which is of no use afterwards; other text as it is."""
    try:
        event: dict[str, Any] = json.loads(line)
        moment, name = str(event.pop("time"))[:19], str(event.pop("event"))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return line
    if name == "progress":
        return None
    fields = (f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for key, value in event.items())
    return " ".join((moment, name, *fields))
