"""Of the operator and the cluster (ser_operator)."""

from ser_core.cli.views.remedies.remedy import Remedy, Then

CLUSTER = (
    Remedy(
        ("NotAllowed",),
        "the operator's allow-lists forbid what the message names",
        "ask the administrator to allow it, or change it to what is allowed, or back; where the field cannot change, in another run",
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
    Remedy(
        ("JobRefused",),
        "the API server refuses the stage's Job",
        "correct what its message names, or let the administrator (quota, policy, webhook, the chart's allow); the run then goes on",
    ),
    Remedy(
        ("JobSuspended",),
        "somebody has suspended the stage's Job, which is in no queue",
        "do what the message says; or suspend and resume the run, which makes another Job",
    ),
    Remedy(
        ("NotSupported",),
        "spec.resources ask for more than this version can use",
        "ask for less in resources.{resources}; the run then goes on",
    ),
    Remedy(
        ("Queued", "Suspend"),
        "the queue has not admitted the stage's Job",
        "wait for its turn, unless the evidence says what else to do; "
        "to wait for less, lower resources.{resources}: the Job is then made anew",
    ),
    Remedy(
        ("NoQueue",),
        "the stage's Job needs a queue, and the run names none",
        "create a LocalQueue called default, then suspend and resume the run; or set suspend: true and spec.queueName, then suspend: false",
    ),
    Remedy(
        ("QueueUnusable",),
        "the queue of the stage's Job does not exist or is stopped",
        "create, start or install what the message names, and the run goes on; "
        "or suspend it, change spec.queueName or take it out, and resume it",
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
        "no node can take the stage's pod",
        "do what the evidence asks for (free, add or label a node, create a volume); or change what resources.{resources} "
        "or podTemplate asks for: the waiting Job is then made anew",
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
        "create what the message names: storage.credentialsSecret, storage.caBundleFrom, hub.credentialsSecret "
        "and what podTemplate mounts must exist in the namespace",
    ),
    Remedy(
        ("FailedCreate",),
        "the API server refuses the pod of the stage's Job: for a quota, a LimitRange, a missing ServiceAccount, a webhook or another rule",
        "do what the evidence asks for, and the Job's controller tries again by itself; "
        "or name in resources.{resources} what is missing there, or less: the waiting Job is then made anew",
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
    Remedy(("Waiting",), "the stage waits for something in the cluster", "read the evidence; kubectl describe pod says more"),
)
