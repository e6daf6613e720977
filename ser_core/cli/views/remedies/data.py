"""Of the data, and of results that are refused (ser_core.data, ser_core.learn)."""

from ser_core.cli.views.remedies.remedy import Remedy, Then
from ser_core.loop.deciding.faults import BAD_ROWS

DATA = (
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
        "add seed pairs of other groups to the files, or give another splitBy in spec.data",
        Then.ANEW,
    ),
    Remedy(
        ("NoHiddenLabels",),
        "the control full needs the human labels of the pool, and there are none",
        "leave the control out, or give labels in data.unlabeled",
        Then.ANEW,
    ),
    Remedy(("QualityError", "PairsDiffer"), "a result did not pass its check", "look at the stage's log: ser logs"),
    Remedy(
        ("NonFiniteLoss", "LossNotFinite", "NonFiniteScore", "NonFiniteScores", "PolicyDiverged"),
        "the training diverged: numbers are no longer finite",
        "lower the learning rate, or set precision to fp32",
        Then.ANEW,
    ),
)
