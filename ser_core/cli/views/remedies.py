"""Cause and remedy of every reason that a run's status can hold; `ser why` prints them. A test compares the list with the code.

In the texts ``{resources}`` is the stage's field of spec.resources, ``{tokens}`` the tokens that a batch has on a CPU.
The run's own message is printed too and names file, field and value.
"""

from dataclasses import dataclass
from enum import StrEnum

from ser_core.loop.deciding.faults import BAD_ROWS


class Then(StrEnum):
    """What makes a failed run go on once its fix is done."""

    ITSELF = "nothing: the run sees it"
    CHANGE = "nothing: the run sees the changed field, and without a change it only fails again"
    RETRY = "ser retry"
    ANEW = "another run, since a started one keeps this"


@dataclass(frozen=True, slots=True)
class Remedy:
    """Cause and fix of some reasons. Each fix has a story that does it (tests/unit/cli/views/test_remedies.py)."""

    reasons: tuple[str, ...]
    cause: str
    fix: str
    then: Then = Then.RETRY
    here: str = ""
    """The fix of a run of this machine, where it is another."""
    without_batches: str = ""
    """The fix of a stage to which training.tokensPerBatch is nothing, where it is another."""


_ONLY_MEMORY = "raise resources.{resources}.memory, or close other programs if it is a run of your own machine; the run then goes on"

LEARNT_NOTHING = "in a new run a lower training.learningRate"
"""Fix of a reward model that scores all answers alike."""

REMEDIES = (
    # The run itself (ser_core.loop)
    Remedy(("Completed",), "the run has ended as it should", "nothing to do"),
    Remedy(("Running",), "nothing is wrong: a stage is running", "wait"),
    Remedy(("Pausing",), "a stage has failed, and its next attempt begins by itself", "wait"),
    Remedy(("Stopping",), "a stage was asked to stop and is saving its checkpoint", "wait until it has ended"),
    Remedy(("Suspended",), "somebody suspended the run", "resume it"),
    Remedy(
        ("BudgetExceeded",),
        "the run has spent the GPU-hours that spec.budget allows",
        "raise budget.gpuHours; the run goes on from its checkpoint",
    ),
    Remedy(
        ("DeadlineExceeded",),
        "the stages of the run have run for spec.activeDeadline",
        "raise or remove activeDeadline; the run goes on from its checkpoint",
        Then.CHANGE,
    ),
    Remedy(("Interrupted",), "a stage was stopped from outside, by the cluster or by a signal", "nothing: it goes on from its checkpoint"),
    Remedy(("SerRunEnded",), "ser run was ended while a stage was at work", "nothing: the same ser run goes on from the checkpoint"),
    Remedy(
        ("ResultLost", "NoResult", "NothingToReport"),
        "a stage's Job ended without its report, or a small Job found no result of the run that spec.from names",
        "nothing: where a report is lost a small Job looks for the result in the store; if there is none, the stage runs",
    ),
    Remedy(("TakenOver",), "the stage was taken over from the run that spec.from names", "nothing to do", Then.ITSELF),
    Remedy(
        ("NotTakenOver",),
        "the run that spec.from names has not computed this stage from the same; the message says what differs",
        "nothing: the stage was computed",
        Then.ITSELF,
    ),
    Remedy(
        ("ChangedBeforeStart",),
        "resources or image were changed while a stage's Job waited",
        "nothing: the Job is made anew and asks for what is wanted now",
    ),
    Remedy(
        ("ResultMismatch",),
        "a stage reported the result of another one",
        "let the operator be of the version of the run's image (status.image)",
    ),
    Remedy(("NotTheLiveAttempt",), "an older Job of the run was still there beside the newer one", "nothing: the older one is stopped"),
    # The operator and the cluster (ser_operator)
    Remedy(
        ("NotAllowed",),
        "the operator's allow-lists forbid what the message names",
        "ask the administrator to allow it, or take back what was changed; or name an allowed one in another run",
    ),
    Remedy(
        ("InvalidSpec",),
        "the spec passed another CRD and cannot be read by this operator",
        "install an operator of the CRD's version",
        Then.ITSELF,
    ),
    Remedy(
        ("SpecUnknownField", "UnknownStage"),
        "a later version of the operator has had the run, and this one does not know what the message names",
        "install the operator of that version again (docs/operations.md, Upgrade and rollback)",
        Then.ITSELF,
    ),
    Remedy(
        ("TemplateUnusable",),
        "the SERRunTemplate that spec.templateRef names is not there, too large, or not to be read by the operator",
        "do what the message says: create, shorten or allow it; the run then starts",
        Then.ITSELF,
    ),
    Remedy(
        ("StageImageTooOld",),
        "the spec sets a field that the stage image does not know",
        "give the operator a stage image of the version that the message names; or leave the field out of another run",
    ),
    Remedy(
        ("NameConflict",),
        "a Job or Service that is not the run's has the name of its next one",
        "delete what the message names; the run then goes on",
    ),
    Remedy(("JobRefused",), "the API server refuses the stage's Job", "correct what its message names; it is tried again every 30 s"),
    Remedy(
        ("NotSupported",),
        "spec.resources ask for more than this version can use",
        "ask for less in resources.{resources}; the run then goes on",
    ),
    Remedy(
        ("Queued", "Suspend"),
        "the queue has not admitted the stage's Job",
        "wait; to wait for less, lower resources.{resources}: the Job is then made anew",
    ),
    Remedy(
        ("NoQueue",),
        "the stage's Job needs a queue, and the run names none",
        "create a LocalQueue called default, then suspend and resume the run; or set suspend: true and spec.queueName, then suspend: false",
    ),
    Remedy(
        ("QueueUnusable",),
        "the queue of the stage's Job does not exist or is stopped",
        "create or start what the message names (kubectl get localqueues,clusterqueues); the run then goes on",
    ),
    Remedy(
        ("PodsReadyTimeout",),
        "the queue admitted the stage's Job, and its pods did not run in time",
        "wait for the queue's next try; if it ends alike, see why the pods do not run: kubectl get events",
    ),
    Remedy(
        ("WorkloadDeactivated",),
        "the queue has given the stage's Job up",
        "see why its pods did not run (kubectl get events), then suspend and resume the run, which queues a new Job",
    ),
    Remedy(
        ("NodeUnreachable",),
        "a node does not answer, so nobody knows whether its pod has ended",
        "bring the node back; or, if you are sure that it is off, delete the pod with --force",
    ),
    Remedy(
        ("NodeNotReady",),
        "the node of a stage's pod does not answer; the stage may still be at work",
        "see why: kubectl describe node; when the node answers again, the run goes on by itself and nothing is lost",
    ),
    Remedy(
        ("Unschedulable", "FailedScheduling", "SchedulerError"),
        "no node has room for the stage's pod",
        "free or add a node, or ask for less in resources.{resources}: the waiting Job is then made anew",
    ),
    Remedy(
        ("SchedulingGated",),
        "something holds the pod back from being scheduled",
        "let whoever set the pod's schedulingGates lift them; the run then goes on",
    ),
    Remedy(
        (
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "ErrImageNeverPull",
            "ImageInspectError",
            "RegistryUnavailable",
            "Failed",
            "BackOff",
        ),
        "the node cannot pull the stage image",
        "ask the administrator to correct the stage image (until the run's first commit) or the pull Secret: a new Job uses it",
    ),
    Remedy(
        (
            "CreateContainerConfigError",
            "CreateContainerError",
            "RunContainerError",
            "FailedMount",
            "FailedAttachVolume",
            "FailedCreatePodSandBox",
        ),
        "the node cannot set up the stage's pod; most often a Secret is missing",
        "create what the message names: storage.credentialsSecret, storage.caBundleFrom, hub.credentialsSecret must exist in the namespace",
    ),
    Remedy(
        ("FailedCreate",),
        "the stage's Job may not create its pod: a quota or an admission rule forbids it",
        "raise the quota, or ask for less in resources.{resources}: the waiting Job is then made anew",
    ),
    Remedy(
        ("Preempted", "Evicted", "Killing", "TaintManagerEviction"),
        "the cluster takes the pod away",
        "nothing: the stage goes on from its checkpoint",
    ),
    Remedy(
        (
            *("UnexpectedAdmissionError", "TopologyAffinityError", "SMTAlignmentError", "AppArmor", "SysctlForbidden"),
            *("PodOSNotSupported", "NodeAffinity", "NodeName", "NodePorts", "NodeSelectorMismatching", "TaintToleration"),
            "InvalidNodeInfo",
        ),
        "the node refused the stage's pod when it came",
        "nothing: it is tried again, on another node if there is one; if every node refuses, see kubectl describe node",
    ),
    Remedy(
        ("NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Preempting", "ContainerStatusUnknown"),
        "the node went away under the stage's pod",
        "nothing: the stage goes on from its checkpoint, on another node if there is one",
    ),
    # Memory, disk and time (exit codes 20 to 29)
    Remedy(
        ("NodeDiskFull",),
        "the disk that the stage works on is full",
        "free space there; the run tries again by itself, on another node if there is one",
    ),
    Remedy(
        ("DiskLimitExceeded",),
        "the stage's pod took more disk than a limit of the cluster allows it",
        "raise the limit that the message names (stages.defaults of the operator's chart, or kubectl get limitranges)",
    ),
    Remedy(
        ("OutOfMemory", "DoesNotFit", "OOMKilled"),
        "the stage needs more memory than it has",
        "raise resources.{resources}.memory or gpus, or lower training.tokensPerBatch further; the run then goes on",
        Then.ITSELF,
        here="lower training.tokensPerBatch below what the message names, or close other programs",
        without_batches=_ONLY_MEMORY,
    ),
    Remedy(
        ("Killed",),
        "the stage's process was killed; mostly, because the memory was used up",
        "raise resources.{resources}.memory, or lower training.tokensPerBatch; the run then goes on",
        Then.ITSELF,
        here="lower training.tokensPerBatch (on a CPU below {tokens}), or close other programs",
        without_batches=_ONLY_MEMORY,
    ),
    Remedy(
        ("StageHung",),
        "the stage made no step for too long",
        "look at its log: ser logs; a slow store or a stopped process is the usual cause",
    ),
    Remedy(
        ("RendezvousTimeout",),
        "not all processes of a stage met in time",
        "check that all its pods can be scheduled at the same time and can reach each other",
    ),
    # The store (ser_core.store)
    Remedy(
        ("StoreUnavailable", "StoreError"),
        "the object store does not answer",
        "check that storage.endpoint is right and that the pods can reach it; the run tries again by itself",
        here="check that this machine reaches storage.endpoint, or the folder of storage.uri; the run tries again by itself",
    ),
    Remedy(("StoreFull",), "the store has no space left", "free some; the run tries again by itself"),
    Remedy(
        ("BucketNotFound",),
        "the store has no bucket of the name in storage.uri",
        "create it, and the run goes on by itself; if the name is wrong, make a new run",
    ),
    Remedy(
        ("StoreAccessDenied",),
        "the store refuses the credentials",
        "put keys that may read, write, list and delete there into storage.credentialsSecret; if it names none, make a new run that does",
        here="make a folder writable; for a bucket put keys that may read, write, list and delete there into the AWS environment or files",
    ),
    Remedy(
        ("StoreMisaddressed",),
        "what answers at storage.endpoint is no S3 server, or not that of the bucket's region",
        "let the S3 server answer there; if endpoint, region or addressing of storage is wrong, make a new run with the right one",
    ),
    Remedy(
        ("StoreNotTrusted",),
        "the certificate of the store is of no known authority, or of another name",
        "put the authority into what storage.caBundleFrom names; if it names nothing, make a new run that does",
        here="put the authority into the file of storage.caBundle or AWS_CA_BUNDLE",
    ),
    Remedy(("ClockSkewed",), "the clock of the node and that of the store differ by minutes", "set the wrong clock right"),
    Remedy(
        ("RequestTooLarge",),
        "the store, or a proxy before it, takes only smaller requests",
        "let it take requests of 16 MiB; a proxy of nginx: client_max_body_size 17m",
    ),
    Remedy(("StoreRefused",), "the store refuses what it is asked", "do what its answer in the message says"),
    Remedy(
        ("CredentialsMissing",),
        "a Secret has none of the keys that are looked for",
        "write AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or HF_TOKEN, into it; the next attempt reads them",
    ),
    Remedy(
        ("StoreNotConsistent", "StoreLacksConditionalWrites"),
        "the store lacks a guarantee that commits need",
        "use a store with read-after-write consistency and If-None-Match: * (AWS S3, MinIO, versitygw)",
        Then.ANEW,
    ),
    Remedy(
        ("CorruptObject", "InputChanged", "ObjectChanged", "ObjectNotFound", "ManifestVanished"),
        "an object of the run was damaged, replaced or removed in the store",
        "restore the object, and let nobody else write under the run's prefix; if it cannot be restored, begin another run",
    ),
    Remedy(
        ("ModelRemoved",),
        "a reward model that is asked for was removed from the store, as storage.retain: best says",
        "use the run's best model; another run with storage.retain: all keeps every one",
        Then.ANEW,
    ),
    # The spec (ser_core.data, ser_core.learn, ser_jobs)
    Remedy(("SpecError",), "the SERRun cannot be carried out as it is written", "correct the field that the message names", Then.ANEW),
    Remedy(
        ("ModelNotFound",),
        "the base model is not where the spec says",
        "put the model where rewardModel.base or policy.base says; or name another in another run",
    ),
    Remedy(
        ("RunNotFound",),
        "the store holds no run that spec.from means, in this namespace and under this storage.uri",
        "name one that is there in another run, or none",
        Then.ANEW,
    ),
    Remedy(
        (
            "BadModelConfig",
            "BadWeights",
            "MissingShard",
            "NoTokenizer",
            "NoSafetensors",
            "RemoteCode",
            "ModelNotSupported",
        ),
        "the base model cannot be used as it is",
        "do what the message says to the files of the model; or name another model in another run",
    ),
    Remedy(
        ("MissingPackage",),
        "the stage image lacks a package that the spec needs",
        "ask the administrator for a stage image that has what the message names",
        here="install what the message names",
    ),
    Remedy(
        ("GeneratorRefused", "GeneratorOutOfStep"),
        "vLLM cannot sample this policy's answers, or it used other weights than the current ones",
        "use policy.generator: transformers",
        Then.ANEW,
    ),
    Remedy(
        ("CriticNotSupported",),
        "neither the reward model nor the policy can be the critic of PPO",
        "use policy.advantage: rloo, which needs none",
        Then.ANEW,
    ),
    Remedy(("MaxLengthTooLarge",), "rewardModel.maxLength is longer than the model can read", "lower rewardModel.maxLength", Then.ANEW),
    Remedy(
        ("TokenInClear",),
        "the hub's endpoint is http://, and a token would be read on its way",
        "set hub.endpoint to an https:// one, or leave hub.credentialsSecret out",
        Then.ANEW,
        here="set hub.endpoint, or HF_ENDPOINT, to an https:// one; or have no token: unset HF_TOKEN, and hf auth logout",
    ),
    Remedy(
        ("HubClientMissing",),
        "huggingface_hub is not installed where the stages run",
        "let the stage image be that of the operator's version",
        here="install what the message names",
    ),
    Remedy(
        ("HubAccessDenied",),
        "the hub refuses access: the model or data set is gated or private",
        "accept its conditions, and put HF_TOKEN into what hub.credentialsSecret names; if it names nothing, make a new run that does",
        here="accept its conditions, and set HF_TOKEN to a token of that account",
    ),
    Remedy(
        ("HubRedirectRefused",),
        "the hub redirects into a private network, to this machine or to a link-local address, where it does not lie itself",
        "set hub.endpoint to a hub in that network, or name another repository",
        Then.ANEW,
        here="set hub.endpoint, or HF_ENDPOINT, to a hub in that network, or name another repository",
    ),
    Remedy(
        ("HubUnavailable",),
        "the hub cannot be reached from the stage, is too slow or too busy, or sends other files than it declares",
        "let the stage prepare reach it: the run tries again by itself; or set hub.endpoint to a mirror in another run",
        here="see whether this machine reaches it: the run tries again by itself; or end ser run and set HF_ENDPOINT to a mirror",
    ),
    Remedy(
        ("UnevenShares",),
        "the work of a step cannot be divided evenly among the stage's processes",
        "change resources.{resources}.nodes or gpus; the run then goes on",
        Then.ITSELF,
    ),
    Remedy(
        ("WorldSizeChanged",),
        "the checkpoint was written by a different number of processes",
        "give resources.{resources} as many nodes and GPUs as before; the run then goes on",
        Then.ITSELF,
    ),
    Remedy(
        ("CheckpointIncomplete", "CheckpointsDiffer"),
        "the processes of a stage did not leave one common checkpoint",
        "look at its log: ser logs; if it fails again, remove the stage's folder checkpoints in the store, so that it begins anew",
    ),
    # The data (ser_core.data)
    Remedy(("DataError",), "the data cannot be used", "correct what the message names"),
    Remedy(
        ("DataNotFound", "DataEmpty", "NoPrompts"),
        "there is no data where the spec says",
        "upload the data to the URI; or correct the URI in another run",
    ),
    Remedy(
        ("UnknownFormat", "UnknownColumns", "MissingColumn", "UnusedColumn", "DuplicateColumn", "NoLabels", "OneSidedLabels"),
        "a run cannot read data in this form",
        "name them in columns, beside the uri of the data, of another run; or give the data those that docs/data-formats.md lists",
    ),
    Remedy(
        ("CorruptArchive", "CorruptFile", "SuspiciousArchive", "InvalidEncoding", "MalformedCsv", "MalformedJson", "TooLarge"),
        "a data file is damaged, or is not what its name says",
        "repair the file and line that the message names",
    ),
    Remedy(
        BAD_ROWS,
        "more rows are unusable than data.maxDroppedFraction allows",
        "repair the rows; or raise data.maxDroppedFraction in another run, if enough rows are left",
    ),
    Remedy(
        ("SplitLeakage",),
        "held-out prompts also occur in the seed or the pool",
        "remove them from one side; or give one data.source, which is split without leaks, in another run",
    ),
    Remedy(
        ("TooFewRows",),
        "too few pairs are left for one of the parts",
        "add data to the files; or give other fractions in spec.data in another run",
    ),
    Remedy(
        ("NoPairs", "NoCalibrationPairs", "NoEvaluationPairs"),
        "one of the parts has no pairs, and the split is committed",
        "add data to the files, or give other fractions in spec.data",
        Then.ANEW,
    ),
    Remedy(
        ("TooFewGroups",),
        "all labelled pairs are in one group, so that no fold of them can be held back, and the split is committed",
        "add seed pairs of other groups to the files, or give another data.source.splitBy",
        Then.ANEW,
    ),
    Remedy(
        ("NoHiddenLabels",),
        "the control full needs the human labels of the pool, and there are none",
        "leave the control out, or give labels in data.unlabeled",
        Then.ANEW,
    ),
    # Results that are refused (exit code 12)
    Remedy(("QualityError", "PairsDiffer"), "a result did not pass its check", "look at the stage's log: ser logs"),
    Remedy(
        ("NonFiniteLoss", "LossNotFinite", "NonFiniteScore", "NonFiniteScores", "PolicyDiverged"),
        "the training diverged: numbers are no longer finite",
        "lower the learning rate, or set precision to fp32",
        Then.ANEW,
    ),
    # Everything else
    Remedy(("Waiting",), "the stage waits for something in the cluster", "read the evidence; kubectl describe pod says more"),
    Remedy(("SERError",), "the stage failed", "look at its log: ser logs"),
)

REMEDY_OF = {reason: remedy for remedy in REMEDIES for reason in remedy.reasons}

BY_EXIT_CODE = {
    10: Remedy((), "the SERRun is wrong", "correct what the message names", Then.ANEW),
    11: Remedy((), "the data are wrong", "correct what the message names"),
    12: Remedy((), "a result did not pass its check", "look at the stage's log: ser logs"),
    20: REMEDY_OF["StoreUnavailable"],
    24: REMEDY_OF["NodeDiskFull"],
    21: REMEDY_OF["OutOfMemory"],
    22: REMEDY_OF["StageHung"],
    23: REMEDY_OF["RendezvousTimeout"],
    137: REMEDY_OF["Killed"],
}
DEFECT = Remedy(
    (), "the stage's process ended in an unexpected way", "look at its log: ser logs; a traceback there is a defect worth reporting"
)
UNKNOWN = REMEDY_OF["Waiting"]


def remedy_of(reason: str, exit_code: int | None = None) -> Remedy:
    """Cause and fix of a reason. An unknown reason is explained by the exit code; without one the stage waits for the cluster."""
    known = REMEDY_OF.get(reason)
    if known is not None:
        return known
    return UNKNOWN if exit_code is None else BY_EXIT_CODE.get(exit_code, DEFECT)
