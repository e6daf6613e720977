"""Of memory, disk and time (exit codes 20 to 29)."""

from ser_core.cli.views.remedies.remedy import Remedy, Then

_ONLY_MEMORY = "raise resources.{resources}.memory, or close other programs if it is a run of your own machine; the run then goes on"

MACHINE = (
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
)
