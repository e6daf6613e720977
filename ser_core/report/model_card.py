"""An exported reward model or policy: its files, verified, and a model card that says what it is, how good it is and how to use it."""

import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from ser_core.data.reading.models.positions import row_limit
from ser_core.errors import SpecError
from ser_core.full_disk import naming_full_disk
from ser_core.learn.text.reference_text import Made
from ser_core.report import findings, policy
from ser_core.report.evidence import Evidence, read_evidence
from ser_core.report.learnt_text import how_made, reads_pairs, tell_peers
from ser_core.report.ledger import Ledger, Trained, fetch_model
from ser_core.report.told_sampling import tell_sampling
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.model_folder import is_adapter


@dataclass(frozen=True, slots=True)
class Usage:
    """How plain transformers must be told to read a prompt and an answer, so that scores equal ours."""

    reads_pairs: bool
    """True for encoders, which read prompt and answer as a text pair."""
    end: str
    """End-of-sequence text that the others need; empty when their tokenizer adds it."""
    max_length: int
    """Tokens of prompt and answer together."""
    made: Made | None = None
    """How the ids of a row are made by the tokenizer's chat template; None: not by it."""


def export_model(store: ObjectStore, ledger: Ledger, folder: Path, loop: int | None) -> list[str]:
    """Write a reward model and its README.md into ``folder``. Returns the names of the model's files.

    Args:
        store: The run's store.
        ledger: Its committed stages.
        folder: New or empty.
        loop: Whose model it is; 0: the seed model, None: the best one.

    Raises:
        SpecError: There is no such reward model, `storage.retain: best` has removed it (``ModelRemoved``), or its adapter or version 0.1.0
            needs packages that are missing.
        StoreError: Something cannot be read, or differs from its manifest.
        NodeDiskFull: The temporary folder, or ``folder``, has no space left.
    """
    model = ledger.model_of(loop)
    with tempfile.TemporaryDirectory(prefix="ser-export-") as scratch:
        with naming_full_disk(Path(scratch)):
            source = plain_model(fetch_model(store, model, Path(scratch)), Path(scratch) / "plain", "rewardModel")
            tell_peers(source, "rewardModel")
            usage = usage_of(source, ledger.run.spec.reward_model.max_length)
            card = render_card(ledger, read_evidence(store, ledger, Path(scratch)), usage, model)
        return _move(source, card, folder)


def export_policy(store: ObjectStore, ledger: Ledger, folder: Path) -> list[str]:
    """Write the aligned policy and its README.md into ``folder``. Returns the names of the model's files.

    Raises:
        SpecError: There is no aligned policy, or its adapter or version 0.1.0 needs packages that are missing.
        StoreError: Something cannot be read, or differs from its manifest.
        NodeDiskFull: The temporary folder, or ``folder``, has no space left.
    """
    aligned = ledger.aligned_policy()
    with tempfile.TemporaryDirectory(prefix="ser-export-") as scratch:
        with naming_full_disk(Path(scratch)):
            source = plain_model(fetch_model(store, aligned, Path(scratch)), Path(scratch) / "plain", "policy")
            tell_peers(source, "policy")
            if (spec := ledger.run.spec.policy) is not None:
                tell_sampling(source, spec.temperature)
            card = render_policy_card(ledger, read_evidence(store, ledger, Path(scratch)), templated=how_made(source) is not None)
        return _move(source, card, folder)


def plain_model(stored: Path, folder: Path, field: Literal["rewardModel", "policy"]) -> Path:
    """Folder of a plain transformers model: ``stored`` itself, or ``folder`` with its adapter merged."""
    if not is_adapter(stored):
        return stored
    try:
        from ser_core.learn.compute.precision import keep_libraries_quiet

        if field == "policy":
            from ser_core.learn.policy.policy import export_stored
        else:
            from ser_core.learn.reward.reward_model import export_stored
    except ModuleNotFoundError as error:
        raise SpecError(
            f"its adapter cannot be merged: {error.name} is not installed",
            reason="MissingPackage",
            hint="in a checkout of this project: pip install '.[jobs]'",
        ) from error
    keep_libraries_quiet()
    export_stored(stored, folder)
    return folder


def _move(source: Path, card: str, folder: Path) -> list[str]:
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    with naming_full_disk(folder, hint="free space there, or name another folder"):
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source / name, target)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return names


def usage_of(model: Path, max_length: int) -> Usage:
    """Read off a model's files how its rows are built (`ser_core.learn.reward.encoding`)."""
    tokenizer, config = (json.loads((model / name).read_bytes()) for name in ("tokenizer_config.json", "config.json"))
    limit = row_limit(config, tokenizer.get("model_max_length") or math.inf)
    pairs = reads_pairs(model)
    return Usage(pairs, "" if pairs else _text(tokenizer.get("eos_token")), min(max_length, limit - 1), how_made(model))


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token or "")


def render_card(ledger: Ledger, evidence: Evidence, usage: Usage, model: Trained) -> str:
    """The card of ``model``, a reward model, in Markdown."""
    best = ledger.best_model()
    chosen = model.key == best.key
    headline = findings.headline(ledger, findings.contrasts(ledger, evidence)) if chosen else findings.of_another(ledger, evidence, model)
    return (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            run=ledger.run,
            ledger=ledger,
            best=best,
            this=model,
            provenance=evidence.provenance,
            headline=headline,
            caveats=[*findings.of_groups(ledger), *findings.caveats(ledger)],
            usage=usage,
        )
    )


def render_policy_card(ledger: Ledger, evidence: Evidence, *, templated: bool) -> str:
    """The policy's card in Markdown; ``templated``: its tokenizer has a chat template that renders what it reads."""
    return (
        _environment()
        .get_template("policy_card.md.j2")
        .render(
            run=ledger.run,
            ledger=ledger,
            best=ledger.best_model(),
            metrics=ledger.aligned_policy().metrics,
            provenance=evidence.provenance,
            sentences=list(policy.sentences(ledger)),
            templated=templated,
            caveats=list(policy.caveats(ledger)),
        )
    )


def _environment() -> Environment:
    environment = Environment(loader=PackageLoader("ser_core.report"), autoescape=False, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"cell": plain, "percent": findings.percent, "spread": findings.spread}
    return environment


def plain(text: object) -> str:
    """Text that may stand in Markdown: one line, and no sign that means something there or in HTML."""
    line = " ".join(str(text).split())
    return "".join(f"&#{ord(sign)};" if sign in "\\`|<>*_[]&" else sign for sign in line)
