"""What each loop gained, and how far its self-labels could be trusted."""

from dashboards.colours import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from dashboards.panels import CLOSE, COUNT, HEIGHT, SECONDS, SHARE, Axis, Panel, bars_by_iteration, by_iteration, rows
from dashboards.queries import Query, of_run


def evolution() -> list[Panel]:
    """The panels of the row."""
    accuracy = 'split="heldout"'
    return [
        by_iteration(
            "Accuracy",
            "On held-out pairs with the 95 % interval, and on dev, the labels that choose the best loop.",
            SHARE,
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", accuracy), "held-out", BLUE),
            Query(of_run("ser_iteration_accuracy_low_ratio", "iteration", accuracy), "low", SKY),
            Query(of_run("ser_iteration_accuracy_high_ratio", "iteration", accuracy), "high", SKY),
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", 'split="dev"'), "dev", ORANGE, dashed=True),
            axis=CLOSE,
            band=("low", "high"),
        ),
        by_iteration(
            "Trust and truth",
            "Kept share of the self-labels, how many of the kept ones equal the hidden human labels, and the confidence asked for.",
            SHARE,
            Query(of_run("ser_iteration_kept_ratio", "iteration"), "kept", GREEN),
            Query(of_run("ser_iteration_agreement_ratio", "iteration"), "agreement of kept labels", BLUE),
            Query(of_run("ser_iteration_threshold_ratio", "iteration"), "threshold", PURPLE, dashed=True),
        ),
        bars_by_iteration(
            "Self-labels kept and dropped",
            "Pairs that the reward model labelled, by whether the filter trusted the label.",
            COUNT,
            Query(of_run("ser_iteration_pairs", "iteration", 'verdict="kept"'), "kept", GREEN),
            Query(of_run("ser_iteration_pairs", "iteration", 'verdict="dropped"'), "dropped", VERMILION),
        ),
        by_iteration(
            "Gain",
            "Dev accuracy of a loop minus that of the best before it. Of cross-fitted models (loop.folds) it does not decide: "
            "the loss gain of the table Loops does.",
            SHARE,
            Query(of_run("ser_iteration_gain_ratio", "iteration"), "gain", ORANGE),
            axis=Axis(low=-0.05, high=0.05),
        ),
        by_iteration(
            "Loss and temperature",
            "Log loss on dev in nats, which alone decides between cross-fitted models, and the temperature that calibrates the scores: "
            "above 1 the model was too sure.",
            COUNT,
            Query(of_run("ser_iteration_dev_loss", "iteration"), "loss", VERMILION),
            Query(of_run("ser_iteration_temperature", "iteration"), "temperature", PURPLE, dashed=True),
        ),
        by_iteration(
            "Labels, confidence and truth",
            "Pairs labelled as in the loop before (one half is a coin; below 0.6 there is an alert), the mean confidence of the kept ones, "
            "how many of the seed's pairs as sure as these are labelled right by what has not seen them, and the share in Status 1, "
            "the easier case.",
            SHARE,
            Query(of_run("ser_iteration_same_labels_ratio", "iteration"), "same labels", GREEN),
            Query(of_run("ser_iteration_confidence_ratio", "iteration"), "confidence", PURPLE, dashed=True),
            Query(of_run("ser_iteration_confidence_right_ratio", "iteration"), "right", BLUE),
            Query(of_run("ser_iteration_easier_ratio", "iteration"), "kept in Status 1", SKY),
        ),
        by_iteration(
            "Scores of the pool",
            "Mean raw score of an answer, and mean difference of the two of a pair, in logits: how the scores drift.",
            COUNT,
            Query(of_run("ser_iteration_score", "iteration"), "score", BLUE),
            Query(of_run("ser_iteration_margin", "iteration"), "difference", ORANGE),
        ),
        bars_by_iteration(
            "Time of a loop",
            "From the start of its first stage to its end.",
            SECONDS,
            Query(of_run("ser_iteration_duration_seconds", "iteration"), "time", SKY),
        ),
        rows(
            "Loops",
            "The learning status of every loop beside its accuracies and other figures. A training whose model has collapsed is repeated; "
            "where each one has, the loop is called collapsed, and there is an alert. Loss gain: by how many nats the out-of-fold "
            "log loss is lower than that of the best loop before.",
            Query(of_run("ser_iteration_info", "iteration, learning_status"), "status value"),
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", 'split="dev"'), "dev"),
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", accuracy), "held-out"),
            Query(of_run("ser_iteration_gain_ratio", "iteration"), "gain"),
            Query(of_run("ser_iteration_loss_gain_nats", "iteration"), "loss gain"),
            Query(of_run("ser_iteration_kept_ratio", "iteration"), "kept"),
            Query(of_run("ser_iteration_agreement_ratio", "iteration"), "agreement"),
            Query(of_run("ser_iteration_repeated_trainings", "iteration"), "repeated"),
            Query(of_run("ser_iteration_collapsed", "iteration"), "collapsed"),
            labels={"iteration": "loop", "learning_status": "learning status"},
            units=dict.fromkeys(("dev", "held-out", "gain", "kept", "agreement"), SHARE),
            hidden=["status value"],
        )
        .height(HEIGHT)
        .span(16),
        rows(
            "Controls",
            "Held-out accuracy of the models that are trained for comparison (loop.controls).",
            Query(of_run("ser_run_control_accuracy_ratio", "control"), "held-out accuracy"),
            labels={"control": "control"},
            units={"held-out accuracy": SHARE},
        )
        .height(HEIGHT)
        .span(8),
    ]
