"""The optimizer steps of a reward model, or of SFT."""

from dashboards.panels import COUNT, Panel, lines
from dashboards.queries import RATE, RUN, Query, of_run

THIRD = 8
_STAGE = "{{stage}} of loop {{iteration}}"
_BY_STAGE = "iteration, stage"


def training() -> list[Panel]:
    """The panels of the row."""
    panels = [
        lines(
            "Loss",
            "Mean loss of a pair, or in sft of a token, at the newest optimizer step, in nats.",
            COUNT,
            Query(of_run("ser_train_loss", _BY_STAGE), _STAGE),
        ),
        lines(
            "Gradient norm",
            "Norm of the gradient before it is clipped to 1.",
            COUNT,
            Query(of_run("ser_train_gradient_norm", _BY_STAGE), _STAGE),
        ),
        lines(
            "Learning rate",
            "Of the newest optimizer step.",
            "sci",
            Query(of_run("ser_train_learning_rate", _BY_STAGE), _STAGE),
        ).decimals(1),
        lines(
            "Steps per second",
            "Optimizer steps per second.",
            COUNT,
            Query(f"sum by ({_BY_STAGE}) (rate(ser_train_steps_total{{{RUN}}}{RATE}))", _STAGE),
        ),
        lines(
            "Pairs per second",
            "Pairs trained on per second.",
            COUNT,
            Query(f"sum by ({_BY_STAGE}) (rate(ser_train_pairs_total{{{RUN}}}{RATE}))", _STAGE),
        ),
        lines(
            "Tokens per second",
            "Tokens trained on per second, without padding.",
            COUNT,
            Query(f"sum by ({_BY_STAGE}) (rate(ser_train_tokens_total{{{RUN}}}{RATE}))", _STAGE),
        ),
    ]
    return [panel.span(THIRD) for panel in panels]
