"""Of the run itself (ser_core.loop)."""

from ser_core.cli.views.remedies.remedy import Remedy, Then

RUN = (
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
    Remedy(("SERError",), "the stage failed", "look at its log: ser logs"),
)
