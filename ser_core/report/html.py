"""The report of a run: one HTML page that needs nothing else. No script, no request; what the data say is text, never markup."""

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from ser_core.loop.deciding.significance import p_text
from ser_core.loop.text import decimals
from ser_core.report import figures, findings, policy
from ser_core.report.evidence import Evidence, read_evidence
from ser_core.report.figures import Figure
from ser_core.report.ledger import Ledger
from ser_core.store.objects.port import ObjectStore

LOOPS_SHOWN = 4
TEXT_SHOWN = 1200
"""Characters of a sample's prompt or answer."""
FILES_SHOWN = 20
_TURNS = {code: f"\\u{code:04x}" for code in (0x202D, 0x202E)}


@dataclass(frozen=True, slots=True)
class Cost:
    """One committed stage's time."""

    name: str
    attempt: int
    seconds: float
    threads: int


def write_report(store: ObjectStore, ledger: Ledger, file: str | None, target: Path) -> None:
    """Read the evidence and write the page to ``target``.

    Args:
        store: The run's store.
        ledger: Its committed stages.
        file: Name of the SERRun file, for the command that reproduces the run; None: the run is one of a cluster.
        target: File to write.

    Raises:
        StoreError: Something cannot be read, or differs from its manifest.
        OSError: ``target`` cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="ser-report-") as folder:
        evidence = read_evidence(store, ledger, Path(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render(ledger, evidence, file), encoding="utf-8")


def render(ledger: Ledger, evidence: Evidence, file: str | None) -> str:
    """The page. Equal ledgers give equal pages."""
    found = findings.contrasts(ledger, evidence)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=ledger.run,
            ledger=ledger,
            evidence=evidence,
            headline=(*findings.headline(ledger, found), *policy.sentences(ledger)),
            gap_closed=findings.gap_closed(evidence, found),
            contrasts=found,
            caveats=[*findings.of_groups(ledger), *findings.caveats(ledger), *policy.caveats(ledger)],
            policy=policy.figures(evidence.policy) if evidence.policy else [],
            costs=costs(ledger),
            stored=ledger.run.status.stored.by_kind() if ledger.run.status.stored else {},
            evolution=figures.evolution(ledger) if ledger.models else None,
            kept=_kept(evidence),
            trust=_trust(ledger, evidence),
            spec=_spec_yaml(ledger),
            file=file,
            text_shown=TEXT_SHOWN,
            files_shown=FILES_SHOWN,
        )
    )


def _kept(evidence: Evidence) -> list[Figure]:
    """What the filter of each loop kept, drawn to one scale."""
    highest = max((band.labeled for loop in evidence.loops for band in loop.bands), default=0)
    return [figures.kept(loop, highest) for loop in figures.every(evidence.loops, LOOPS_SHOWN)]


def _trust(ledger: Ledger, evidence: Evidence) -> list[Figure]:
    """The figures that say how far scores and labels can be trusted."""
    if not evidence.models:
        return []
    shown = (
        figures.agreement(evidence.loops),
        figures.calibration(figures.seed_and_best(ledger, evidence)),
        figures.length_bias(evidence.models),
        figures.training_loss(evidence.models),
    )
    return [figure for figure in shown if figure is not None]


def costs(ledger: Ledger) -> list[Cost]:
    """Time of every committed stage, in the order in which they ran."""
    return [Cost(str(key), record.manifest.attempt, record.seconds, record.manifest.threads) for key, record in ledger.stages.items()]


def _spec_yaml(ledger: Ledger) -> str:
    run = ledger.run
    spec = run.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    metadata = {"name": run.metadata.name, "namespace": run.metadata.namespace}
    content: dict[str, Any] = {"apiVersion": run.api_version, "kind": run.kind, "metadata": metadata, "spec": spec}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _said(text: str, most: int) -> str:
    """A text of the data or of a policy, clipped; its characters that turn the direction of what follows are written out."""
    clipped = text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
    return clipped.translate(_TURNS)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ser_core.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": partial(findings.percent, absent="–"),
        "count": lambda value: f"{value:,}",
        "signed": lambda value: f"{value * 100:+.1f}".replace("-", "−"),
        "decimals": lambda value, places=3: "–" if value is None else f"{value:.{places}f}",
        "two_digits": lambda value: "–" if value is None else decimals(value),
        "moment": lambda time: time[:16].replace("T", " "),
        "megabytes": lambda size: f"{size / 1e6:,.1f}",
        "duration": lambda seconds: str(timedelta(seconds=round(seconds))),
        "said": _said,
        "p_text": p_text,
        "spread": findings.spread,
    }
    return environment
