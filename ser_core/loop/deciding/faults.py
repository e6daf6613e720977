"""Whose fault the end of an attempt is. One table: every reason stands in exactly one row, and the fault decides what follows.

| fault of | charged | what follows |
|---|---|---|
| the world | never | the run waits: 10 s, doubled up to 10 minutes, for as long as it takes |
| nobody knows | yes, until a newer checkpoint forgives it | the next attempt, on another node if there is one, up to `retries.limit` |
| memory, or disk beyond a limit of its own | yes | once more; after a lack of memory with half of the tokens per batch |
| the inputs | yes | never: the run fails at once |
| limits: the user's own wish | never | whatever the user wishes |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from ser_core.api.status import Outcome, StageStatus
from ser_core.errors import Interrupted, NodeDiskFull, OutOfMemory, SpecError, StoreError


class Fault(StrEnum):
    """Whose fault an end is."""

    WORLD = "world"
    UNKNOWN = "unknown"
    MEMORY = "memory"
    INPUTS = "inputs"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Row:
    """Reasons that mean the same for what follows."""

    fault: Fault
    reasons: frozenset[str]
    stalled: bool = False
    """True where only a person can mend it: the run is Stalled at once."""
    stalled_unless_begun: bool = False
    """The same, but only before the first commit: later it has worked before, and will again."""
    elsewhere: bool = False
    """Whether another node may do better."""
    waits: bool = False
    """True for what a live attempt waits for. No attempt ends with these."""


RESULT_LOST, NO_RESULT = "ResultLost", "NoResult"
NOTHING_TO_REPORT = "NothingToReport"
RESULT_MISMATCH = "ResultMismatch"
DISK_LIMIT_EXCEEDED = "DiskLimitExceeded"
SER_RUN_ENDED = "SerRunEnded"

_STORE = frozenset({"StoreUnavailable", "StoreError", "StoreFull", "ObjectChanged"})
_REFUSED = frozenset(
    {
        *("StoreAccessDenied", "CredentialsMissing", "BucketNotFound", "StoreRefused"),
        *("StoreMisaddressed", "StoreNotTrusted", "RequestTooLarge"),
    }
)
_DAMAGED = frozenset({"CorruptObject", "InputChanged", "ObjectNotFound", "ManifestVanished"})
_TAKEN_AWAY = frozenset({"Interrupted", RESULT_LOST, NOTHING_TO_REPORT})
"""The next attempt after the first of these starts at once: nothing is known to be missing."""
_NODE = frozenset(
    {
        *("NodeDiskFull", "UnexpectedAdmissionError", "TopologyAffinityError", "SMTAlignmentError", "AppArmor", "SysctlForbidden"),
        *("PodOSNotSupported", "NodeAffinity", "NodeName", "NodePorts", "NodeSelectorMismatching", "TaintToleration"),
        *("InvalidNodeInfo", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Evicted", "Preempting", "ContainerStatusUnknown"),
    }
)
_QUEUE = frozenset({"Queued", "Suspend", "NoQueue", "QueueUnusable", "PodsReadyTimeout", "WorkloadDeactivated"})
_CLUSTER = frozenset(
    {
        *("JobRefused", "JobSuspended", "NameConflict", "NodeUnreachable", "NodeNotReady", "FailedCreate", "Waiting"),
        *("Unschedulable", "FailedScheduling", "SchedulerError", "SchedulingGated"),
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"),
        *("Failed", "BackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "FailedMount"),
        *("FailedAttachVolume", "FailedCreatePodSandBox", "Preempted", "Killing", "TaintManagerEviction"),
    }
)
_UNKNOWN = frozenset({"SERError", "StageHung", "RendezvousTimeout", "CheckpointsDiffer", "Killed", NO_RESULT})
_MEMORY = frozenset({"OutOfMemory", "DoesNotFit", "OOMKilled", DISK_LIMIT_EXCEEDED})
_SPEC = frozenset(
    {
        *(
            "SpecError",
            "InvalidSpec",
            "StageImageTooOld",
            "SpecUnknownField",
            "UnknownStage",
            "NotAllowed",
            "NotSupported",
            "StoreNotConsistent",
            "StoreLacksConditionalWrites",
        ),
        *(
            "RunNotFound",
            "ModelNotFound",
            "BadModelConfig",
            "MissingShard",
            "NoTokenizer",
            "NoSafetensors",
            "BadWeights",
            "RemoteCode",
            "ModelNotSupported",
        ),
        *("CriticNotSupported", "MissingPackage", "GeneratorRefused", "GeneratorOutOfStep", "MaxLengthTooLarge"),
        *(
            "HubClientMissing",
            "TokenInClear",
            "HubAccessDenied",
            "HubRedirectRefused",
            "UnevenShares",
            "WorldSizeChanged",
            "CheckpointIncomplete",
            "NoHiddenLabels",
            "ModelRemoved",
        ),
        RESULT_MISMATCH,
    }
)
BAD_ROWS = (
    *("BadLabel", "BadMargin", "BadTurns", "BadWeight", "ConflictingIds", "ContradictoryLabel", "Duplicate", "DuplicateKey"),
    *("EmptyAnswer", "EmptyPrompt", "IdenticalAnswers", "InvalidUnicode", "MalformedRow", "MissingField", "NotAnObject", "NotFinite"),
    *("NotText", "PromptMismatch"),
)
"""Why a row cannot be used. Where too many cannot, the stage ends with the most frequent of these."""
_DATA = frozenset(
    {
        *("DataError", "DataNotFound", "DataEmpty", "NoPrompts", "NoPairs", "TooFewRows", "TooFewGroups"),
        *("NoCalibrationPairs", "NoEvaluationPairs"),
        *(
            "UnknownFormat",
            "UnknownColumns",
            "MissingColumn",
            "UnusedColumn",
            "DuplicateColumn",
            "NoLabels",
            "OneSidedLabels",
            "SplitLeakage",
        ),
        *("CorruptArchive", "CorruptFile", "SuspiciousArchive", "InvalidEncoding", "MalformedCsv", "MalformedJson", "TooLarge"),
        *BAD_ROWS,
    }
)
_QUALITY = frozenset(
    {
        *("QualityError", "PairsDiffer", "NonFiniteLoss", "NonFiniteScore", "NonFiniteScores", "PolicyDiverged"),
        "LossNotFinite",  # what earlier images call a NonFiniteLoss of the policy
    }
)
_LIMITS = frozenset({"Suspended", "BudgetExceeded", "DeadlineExceeded", "NotTheLiveAttempt", "ChangedBeforeStart", SER_RUN_ENDED})

TABLE = (
    Row(Fault.WORLD, _STORE),
    Row(Fault.WORLD, _REFUSED, stalled_unless_begun=True),
    Row(Fault.WORLD, frozenset({"ClockSkewed"}), stalled_unless_begun=True, elsewhere=True),
    Row(Fault.WORLD, _DAMAGED, stalled=True),
    Row(Fault.WORLD, frozenset({"HubUnavailable"})),
    Row(Fault.WORLD, _TAKEN_AWAY),
    Row(Fault.WORLD, _NODE, elsewhere=True),
    Row(Fault.WORLD, _QUEUE, waits=True),
    Row(Fault.WORLD, _CLUSTER, waits=True),
    Row(Fault.UNKNOWN, _UNKNOWN, elsewhere=True),
    Row(Fault.MEMORY, _MEMORY),
    Row(Fault.INPUTS, _SPEC | _DATA | _QUALITY),
    Row(Fault.LIMITS, _LIMITS),
)
"""Every reason that this version can give an attempt, or its wait. A test compares it with the code."""

_ROW_OF = MappingProxyType({reason: row for row in TABLE if not row.waits for reason in row.reasons})
_BY_EXIT_CODE = MappingProxyType(
    {
        **dict.fromkeys(range(SpecError.exit_code, SpecError.exit_code + 10), Row(Fault.INPUTS, frozenset())),
        StoreError.exit_code: Row(Fault.WORLD, frozenset()),
        OutOfMemory.exit_code: Row(Fault.MEMORY, frozenset()),
        NodeDiskFull.exit_code: _ROW_OF["NodeDiskFull"],
        Interrupted.exit_code: _ROW_OF["Interrupted"],
    }
)
_REJECTED = _ROW_OF["UnexpectedAdmissionError"]
_NOBODY_KNOWS = _ROW_OF["SERError"]


def row_of(reason: str, exit_code: int | None = None) -> Row:
    """The row of an ended attempt. A reason that this version does not know is judged by the exit code.

    An end without any exit code is that of a pod which never ran: the kubelet rejected it, whatever it calls that (`OutOfcpu`, …).
    """
    known = _ROW_OF.get(reason)
    if known is not None:
        return known
    return _REJECTED if exit_code is None else _BY_EXIT_CODE.get(exit_code, _NOBODY_KNOWS)


def fault_of(row: StageStatus) -> Fault:
    """Whose fault the end of a recorded attempt is."""
    return row_of(row.reason, row.exit_code).fault


def held_by_queue(reason: str) -> bool:
    """Whether a live attempt that waits for ``reason`` waits in a queue."""
    return reason in _QUEUE


def starts_again_at_once(row: StageStatus) -> bool:
    """Whether the next attempt needs no pause after this one, if nothing of the kind came just before it."""
    return row.reason in _TAKEN_AWAY


def stalls_at_once(row: StageStatus, *, begun: bool) -> bool:
    """Whether a run that waits after this attempt waits for a person. ``begun``: one of its stages is committed."""
    found = row_of(row.reason, row.exit_code)
    return found.stalled or (found.stalled_unless_begun and not begun)


def nodes_to_avoid(rows: Sequence[StageStatus]) -> tuple[str, ...]:
    """Nodes on which attempts among ``rows`` have ended in a way that may be the node's, in order, each once."""
    failed = (row for row in rows if row.outcome is Outcome.FAILED and row.node and row_of(row.reason, row.exit_code).elsewhere)
    return tuple(dict.fromkeys(row.node for row in failed))
