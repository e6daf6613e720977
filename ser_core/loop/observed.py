"""What the planner is shown and what it answers. Frozen values; both executors speak them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ser_core.api.stage import StageResult, StageSpec
from ser_core.api.status import SERRunStatus, StageKind


@dataclass(frozen=True, slots=True)
class Leg:
    """One pod of an attempt, or its local process, while its container ran."""

    begin: datetime
    end: datetime | None = None
    """None: it runs."""
    gone: bool = False
    """True when the pod no longer exists, so that nothing but the executor's memory tells of it."""


@dataclass(frozen=True, slots=True)
class ObservedAttempt:
    """One attempt that the executor can see: a Job, or a local process. Reports may come twice, late, or not at all."""

    iteration: int
    stage: StageKind
    attempt: int
    job: str
    state: Literal["running", "succeeded", "failed"]
    mode: Literal["execute", "report"] = "execute"
    exit_code: int | None = None
    result: StageResult | None = None
    """The termination message. None although the attempt has ended: the result is lost."""
    disruption: str = ""
    """Why the cluster ended the attempt (DisruptionTarget), in its words; such an attempt is not charged. Empty: it did not."""
    out_of_memory: bool = False
    """True when the kernel killed it for memory; counts as exit code 21."""
    over_disk_limit: bool = False
    """True when the kubelet ended it because it took more disk than a limit of its own allows."""
    pod_reason: str = ""
    """Why the pod ended, in the kubelet's words (`status.reason`, for example `UnexpectedAdmissionError`); empty: it does not say."""
    pod_message: str = ""
    """The kubelet's message to it."""
    node: str = ""
    """Node of the pod that ended it; empty where none is known, as on this machine."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    legs: tuple[Leg, ...] = ()
    """All its pods that have run, replaced and deleted ones too: what deadline and budget count. Empty: none has run yet."""
    pods: int = 1
    """Pods that it has at once; each holds an equal part of its GPUs."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an attempt waits for, in the words of the scheduler, the kubelet, the quota or the queue."""

    reason: str
    """CamelCase, for example `Unschedulable` or `ImagePullBackOff`."""
    message: str
    stalled: bool = False
    """True when it will not go on by itself: the condition Stalled is set."""
    starting: bool = False
    """True while its container is made, which takes its time: the run counts as running, and its message tells what is done."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress that the live attempt reports."""

    step: int
    total: int
    unit: str
    """What is counted: ``pairs``, ``steps``, ``KiB``."""


@dataclass(frozen=True, slots=True)
class Observed:
    """All attempts of one run that exist now, and the facts that are frozen at its first commit."""

    attempts: tuple[ObservedAttempt, ...] = ()
    waiting: Waiting | None = None
    """Why the live attempt does not run yet."""
    blocked: Waiting | None = None
    """Why the next attempt cannot be started, although that may change."""
    outdated: bool = False
    """Whether the live attempt has not begun to run, and asks for what spec or operator no longer say."""
    progress: Progress | None = None
    refusal: str = ""
    """Why no stage of this run may be started here (allow-lists); empty: it may."""
    judged: str = ""
    """Digest of what may change later, as the allow-lists have looked at it."""
    image: str = ""
    threads: int = 1
    """Threads for stages whose resources name no CPUs."""


@dataclass(frozen=True, slots=True)
class StartStage:
    """Start one attempt. Doing it twice must have the effect of once (the attempt's identity names the Job)."""

    spec: StageSpec
    job: str
    max_seconds: int | None
    """Seconds for which deadline and budget let the stage's processes run; waiting costs nothing. None: no limit.
    The planner stops an attempt that has spent them; who runs the processes does so while no planner runs."""
    avoid_nodes: tuple[str, ...] = ()
    """Nodes that another one is preferred to, since attempts have ended there in a way that may be the node's."""


@dataclass(frozen=True, slots=True)
class StopStage:
    """Ask a live attempt to checkpoint and end (SIGTERM); it counts as live until it is gone."""

    iteration: int
    stage: StageKind
    attempt: int
    job: str
    reason: str


Action = StartStage | StopStage


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event, or a line of `ser run`: published once."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. The executor carries out the actions in order, then writes the status, then publishes the events."""

    actions: tuple[Action, ...]
    status: SERRunStatus
    events: tuple[Event, ...]
    requeue_after: float | None
    """Seconds after which to plan again although nothing was reported; None: no need."""
