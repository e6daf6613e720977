"""`ser validate`: everything that can be wrong with a run before it costs anything. Nothing is trained and nothing is kept."""

import shlex
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.spec.loop import Rule, ThresholdsSpec
from ser_core.api.stage import PrepareMetrics, RunIdentity
from ser_core.cli.access.begun_run import begun_run
from ser_core.cli.access.cluster import ContextOption, KubeconfigOption, NamespaceOption, Place, connect_cluster
from ser_core.cli.access.node_fit import fits
from ser_core.cli.access.serrun_file import located, read_document, read_serrun
from ser_core.cli.access.stored_run import SOON, RunFile, run_command
from ser_core.cli.views.output import Format, FormatOption, print_data, print_error, print_warning, standard_output
from ser_core.counted import counted
from ser_core.errors import ClusterAccessDenied, SERError, SpecError
from ser_core.memory.plan import Models, plans
from ser_core.memory.words import host_line, memory_line, misfits
from ser_core.shown import shown_line
from ser_core.store.objects.retry import Retry, Silence

if TYPE_CHECKING:
    from ser_core.learn.base_models.trial import Tried

_MANY_CUT = 0.1
"""Share of cut pairs above which it is a warning."""
_MANY_UNKNOWN = 0.5
"""The same of tokens that stand for unknown text."""
_MANY_ALIKE = 0.1
"""The same of pairs whose answers are the same tokens."""

Server = Annotated[bool, typer.Option("--server", help="Ask the cluster: a dry run by the API server, and whether a node fits.")]
Probe = Annotated[
    bool | None,
    typer.Option(
        "--probe/--no-probe",
        help="Also check store, model and data from here; of both the last counts. Default: yes, but no with --server.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was found, or what is wrong."""

    name: str
    found: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: SERError | None = None
    material: Any = None
    """What a later check needs of it: the tried bases, a sample of the data."""


def validate(
    file: RunFile,
    server: Server = False,
    probe: Probe = None,
    output: FormatOption = Format.TEXT,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Check spec, store, model and data.

    Nothing is trained and nothing is kept; all problems are reported at once. With --server the cluster is asked instead: whether it would
    take the SERRun (a dry run), and whether some node could hold its pods.
    """
    run, place = _read(file, output), Place(namespace, context, kubeconfig)
    checks = [
        check_spec(run),
        *(_checked(name, check, run, file) for name, check in _chosen(file, place, server, probe).items()),
    ]
    checks += [_checked("run", lambda run: check_run(run, file), run, file)] if not server and "store" in _passed(checks) else []
    checks += [_checked("rows", lambda run: check_rows(run, checks), run, file)] if {"model", "data"} <= _passed(checks) else []
    errors = [check.error for check in checks if check.error is not None]
    if output is not Format.TEXT:
        print_data({"ready": not errors, "checks": [_as_data(check) for check in checks]}, output)
    else:
        for line in _lines(checks):
            standard_output().print(shown_line(line), soft_wrap=True)
    for warning in (warning for check in checks for warning in check.warnings):
        print_warning(warning)
    for error in {error.message: error for error in errors}.values():  # two checks may fail for one cause
        print_error(error)
    if errors:
        raise typer.Exit(errors[0].exit_code)
    if output is Format.TEXT:
        command = (
            f"kubectl apply{Place(namespace, context, kubeconfig).options} -f {shlex.quote(str(file))}" if server else run_command(file)
        )
        standard_output().print(f"ready: {command}", soft_wrap=True)


def _read(file: Path, output: Format) -> SERRun:
    """A file that is no SERRun is a failed check too: who reads data gets them."""
    try:
        return read_serrun(file)
    except SERError as error:
        if output is not Format.TEXT:
            print_data({"ready": False, "checks": [_as_data(Check("spec", error=error))]}, output)
        raise


def _chosen(file: Path, place: Place, server: bool, probe: bool | None) -> dict[str, Callable[[SERRun], Check]]:
    """The checks by name, cheapest first."""
    written = read_document(file)["metadata"].get("namespace")
    place = replace(place, namespace=place.namespace or written)
    of_cluster: dict[str, Callable[[SERRun], Check]] = {
        "server": lambda run: check_server(run, file, place),
        "nodes": lambda run: check_nodes(run, place),
    }
    from_here = not server if probe is None else probe
    return (of_cluster if server else {}) | (_checks_from_here(file) if from_here else {})


def _checks_from_here(file: Path) -> dict[str, Callable[[SERRun], Check]]:
    """Those that ask the store share one deadline: one that falls silent is waited for once."""
    soon = replace(SOON, silence=Silence())
    takes_over = {"from": check_from} if read_document(file)["spec"].get("from") else {}
    return {name: _within(check, soon) for name, check in (takes_over | CHECKS).items()}


def _within(check: Callable[[SERRun, Retry], Check], soon: Retry) -> Callable[[SERRun], Check]:
    return lambda run: check(run, soon)


def check_spec(run: SERRun) -> Check:
    """The spec can be read; what it sets in vain is told."""
    in_vain = "; ".join(unused(run.spec))
    return Check("spec", (describe(run),), (in_vain,) if in_vain else ())


def describe(run: SERRun) -> str:
    """The run in one line."""
    loop = run.spec.loop
    controls = f", controls {', '.join(loop.controls)}" if loop.controls else ""
    return f"{run.metadata.name}: rule {loop.rule}, at most {counted(loop.max_iterations, 'loop')}{controls}"


def unused(spec: SERRunSpec) -> Iterator[str]:
    """The fields that are set and that the rule does not use."""
    if spec.loop.fold_count is not None and "dev_fraction" in spec.data.model_fields_set:
        yield "data.devFraction is not used: rule calibrated trains on every label, and decides on out-of-fold scores of all"
    if spec.loop.fold_count is not None and spec.loop.stopping.min_gain:
        yield "loop.stopping.minGain is not used: rule calibrated compares log losses, with their standard error"
    if spec.loop.fold_count is None and spec.loop.folds is not None:
        yield f"loop.folds is not used: rule {spec.loop.rule} has none"
    if spec.loop.rule is not Rule.CALIBRATED and spec.loop.thresholds.target_precision is not None:
        yield f"loop.thresholds.targetPrecision is not used: rule {spec.loop.rule} has no such floor"
    if spec.loop.rule is not Rule.PAPER and spec.loop.thresholds.min_samples != ThresholdsSpec().min_samples:
        yield "loop.thresholds.minSamples is not used: only rule paper asks for so many pairs"
    if spec.loop.fold_count is None and spec.training.search is not None:
        yield "training.search is not used: only rule calibrated with folds can tell which settings are better"
    for name, part in (("rewardModel", spec.reward_model), ("policy", spec.policy)):
        if part is not None and part.template_text is not None and part.custom_text is None:
            yield f"{name}.templateText is not used: {name}.template is {part.template}"


def check_server(run: SERRun, file: Path, place: Place) -> Check:
    """The API server would take the SERRun as it is written, new or as a change of the run that it has."""
    cluster = connect_cluster(place)
    cluster.dry_run(read_document(file), run.metadata.name)
    return Check("server", (f"{cluster.namespace}/{run.metadata.name} would be taken (dry run, nothing was created)",))


def check_nodes(run: SERRun, place: Place) -> Check:
    """Some node could hold the pods of each kind of stage. If none can, that is a warning only: an autoscaler may add one."""
    try:
        nodes = connect_cluster(place).nodes()
    except ClusterAccessDenied as error:
        return Check("nodes", ("not checked",), (f"whether some node fits is not known: {error.message}",))
    found = fits(run.spec, nodes)
    lines = tuple(f"{fit.stage}: {fit.wanted}: {_on(fit.nodes)}" for fit in found)
    unfit = tuple(f"resources.{fit.stage} ({fit.wanted}) fits no node; nearest is {fit.nearest}" for fit in found if not fit.nodes)
    return Check("nodes", lines, unfit)


def _on(nodes: tuple[str, ...]) -> str:
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return f"fits {nodes[0]}{more}" if nodes else "fits no node now"


def check_store(run: SERRun, soon: Retry) -> Check:
    """The store gives the guarantees that commits need: what is written can be read, and of 8 racing writers one wins."""
    from ser_core.store.objects.connect import connect
    from ser_core.store.objects.probe import probe

    identity = RunIdentity(namespace=run.metadata.namespace, name=run.metadata.name, uid=f"validate-{uuid.uuid4().hex[:8]}")
    probe(connect(run.spec.storage, soon), identity)
    return Check("store", (f"{run.spec.storage.uri}: can be written, one of 8 racing writers won",))


def check_run(run: SERRun, file: Path) -> Check:
    """The store holds no run of this name, or one that this file goes on with, as `ser run` sees it."""
    from ser_core.store.objects.connect import connect

    begun, name = begun_run(connect(run.spec.storage, SOON), run, file), f"{run.metadata.namespace}/{run.metadata.name}"
    return Check("run", (f"{name} is new" if begun is None else f"{name} was begun before ({begun.status.phase})",))


def check_model(run: SERRun, soon: Retry) -> Check:
    """The base models' files are whole, their weights fit, and transformers can score, or write, with them."""
    from ser_core.data.reading.locations import Access
    from ser_core.data.reading.models.base_model import check_base_model, check_policy_base

    trial = _trial()
    access, policy = Access(run.spec.storage, run.spec.hub, soon), run.spec.policy
    with tempfile.TemporaryDirectory(prefix="ser-validate-") as name:
        folder = Path(name)
        model = check_base_model(run.spec.reward_model, access, folder / "reward")
        tried = [trial.try_reward_model(model, run.spec.reward_model, folder / "reward-trial")]
        if policy is not None:
            base = check_policy_base(policy, access, folder / "policy")
            tried.append(trial.try_policy(base, policy, tried[0], folder / "policy-trial"))
    lines = [_found(one) for one in tried]
    memory = check_memory(run.spec, Models(*(one.model.shape(one.tensors) for one in tried)), lines)
    return Check("model", tuple(lines), (*(warning for one in tried for warning in one.warnings), *memory), material=tuple(tried))


def _found(tried: "Tried") -> str:
    model = tried.model
    new = f", starts with a new {' and '.join(tried.new)}" if tried.new else ""
    return f"{model.location.pinned}: {model.model_type}, {counted(len(model.files), 'file')}, {counted(len(tried.tensors), 'tensor')}{new}"


def check_memory(spec: SERRunSpec, models: Models, lines: list[str]) -> Iterator[str]:
    """Add to ``lines`` what each stage with GPUs needs; returns a warning for each that does not fit."""
    for found in plans(spec, models):
        lines += [memory_line(found), host_line(found)]
        yield from misfits(found, spec, models)


def _trial() -> ModuleType:
    """The module that loads models without their weights. It needs torch, which the command line alone does not."""
    try:
        from ser_core.learn.base_models import trial
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{error.name} is not installed, stages need it",
            reason="MissingPackage",
            hint="in a checkout of this project: pip install '.[jobs]'",
        ) from error
    return trial


def check_data(run: SERRun, soon: Retry) -> Check:
    """The data can be read and split."""
    from ser_core.data.preparing.hidden_labels import refuse_full_without_labels
    from ser_core.data.preparing.preparation import inspect
    from ser_core.data.preparing.prompts import read_prompts
    from ser_core.data.preparing.split_warnings import grouped
    from ser_core.data.reading.locations import Access
    from ser_core.learn.trust.enough_pairs import size_warnings

    access, policy = Access(run.spec.storage, run.spec.hub, soon), run.spec.policy
    dev_decides = run.spec.loop.fold_count is None
    inspected = inspect(run.spec.data, run.spec.data.split_seed, access, turns=run.spec.keeps_turns, dev_decides=dev_decides)
    metrics = inspected.metrics
    refuse_full_without_labels(run.spec.loop, hidden_labels=metrics.hidden_labels)
    lines, of_prompts = [*_data_lines(metrics)], tuple[str, ...]()
    if policy is not None and policy.prompts is not None:
        with tempfile.TemporaryDirectory(prefix="ser-validate-") as folder:
            limit, turns = run.spec.data.max_dropped_fraction, run.spec.keeps_turns
            found = read_prompts(policy.prompts, access, Path(folder), (), limit, lambda: None, turns=turns)
        lines.append(f"{policy.prompts.uri}: {len(found.texts):,} prompts")
        of_prompts = found.warnings
    of_groups = grouped(metrics.heldout, inspected.heldout_groups, run.spec.data.split_by)
    warnings = (*metrics.warnings, *of_prompts, *of_groups, *size_warnings(run.spec, metrics, inspected.ties))
    return Check("data", tuple(lines), warnings, material=inspected.sample)


def check_rows(run: SERRun, checks: Sequence[Check]) -> Check:
    """A sample of the pairs as the reward model will read them: how many are cut, and one of them."""
    from ser_core.data.preparing.pairs.text import ends_shown
    from ser_core.data.reading.models.positions import longest_input
    from ser_core.learn.reward.sample import Part, TextPair, read_sample
    from ser_core.learn.text.reference_text import form_of

    models, pairs = (next(check.material for check in checks if check.name == name) for name in ("model", "data"))
    for one, field in zip(models, ("rewardModel.template", "policy.template"), strict=False):
        _trial().refuse_dialogues(one.tokenizer, [pair.prompt for pair in pairs], field)
    tried = models[0]
    wanted = run.spec.reward_model.max_length
    length = min(wanted, (longest_input(tried.model.config) or wanted + 1) - 1, tried.tokenizer.model_max_length - 1)
    texts = [
        TextPair(pair.prompt, *((pair.answer_2, pair.answer_1) if pair.better == 2 else (pair.answer_1, pair.answer_2))) for pair in pairs
    ]
    found = read_sample(texts, tried.tokenizer, length, form_of(run.spec.reward_model.template))

    def line(name: str, part: Part, *, at_the_end: bool) -> str:
        cut = f"[{part.lost} tokens cut]" if part.lost else ""
        return f"{name}: {' '.join(filter(None, (ends_shown(part.text), cut) if at_the_end else (cut, ends_shown(part.text))))}"

    share = f"{found.cut:,} of {counted(found.pairs, 'pair')} of a sample ({found.cut / found.pairs:.1%}) are cut"
    lines = (
        f"{share} to {length} tokens; one pair as the model reads it:",
        line("prompt", found.prompt, at_the_end=False),
        line("better", found.better, at_the_end=True),
        line("worse", found.worse, at_the_end=True),
    )
    why = f"rewardModel.maxLength is {wanted}" if length == wanted else "the model or its tokenizer allows no more"
    warnings = []
    if found.cut > _MANY_CUT * found.pairs:
        warnings.append(f"{share} to {length} tokens, so the model does not see all of them: {why}")
    if found.unknown > _MANY_UNKNOWN:
        unknown = f"{found.unknown:.0%} of the tokens of a sample are {tried.tokenizer.unk_token}"
        warnings.append(f"{unknown}, text that the tokenizer of rewardModel.base does not know: take a base of the language of the data")
    if found.changed:
        changed = f"of {found.changed:,} of {counted(found.pairs, 'pair')} of a sample the chat template leaves out or changes a part"
        warnings.append(f"{changed} of an answer, as some do up to </think>: rewardModel.template reference and custom read all of it")
    if found.alike_when_cut > _MANY_ALIKE * found.pairs:
        whole = found.alike > _MANY_ALIKE * found.pairs
        alike = f"of {found.alike if whole else found.alike_when_cut:,} of {counted(found.pairs, 'pair')} of a sample the two answers are"
        told = "the same tokens" if whole else f"the same once they are cut to {length} tokens"
        warnings.append(f"{alike} {told}: the model cannot tell them apart")
    return Check("rows", lines, tuple(warnings))


def _passed(checks: Sequence[Check]) -> set[str]:
    return {check.name for check in checks if check.error is None}


def _data_lines(metrics: PrepareMetrics) -> Iterator[str]:
    yield f"{metrics.found}: {counted(metrics.rows, 'row')}"
    yield f"seed {metrics.seed:,} · dev {metrics.dev:,} · pool {metrics.pool:,} · held-out {metrics.heldout:,}"
    if metrics.dropped:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in metrics.dropped.items())
        yield f"dropped {sum(metrics.dropped.values()):,}: {reasons}"


def check_from(run: SERRun, soon: Retry) -> Check:
    """The store holds the run that `spec.from` names. What of it can be taken over is told by the run itself, stage by stage."""
    from ser_core.store.objects.connect import connect
    from ser_core.store.runs.leader import find_leader

    identity = RunIdentity(namespace=run.metadata.namespace, name=run.metadata.name, uid=f"validate-{uuid.uuid4().hex[:8]}")
    found = find_leader(connect(run.spec.storage, soon), identity, run.spec.from_.run if run.spec.from_ else "")
    return Check("from", (f"{found.namespace}/{found.name}, UID {found.uid}",))


CHECKS: dict[str, Callable[[SERRun, Retry], Check]] = {"store": check_store, "model": check_model, "data": check_data}
"""By name, cheapest first."""


def _checked(name: str, check: Callable[[SERRun], Check], run: SERRun, file: Path) -> Check:
    try:
        with located(file):
            return check(run)
    except SERError as error:
        return Check(name, error=error)


def _lines(checks: list[Check]) -> Iterator[str]:
    for check in checks:
        first, *rest = check.found or (check.error.reason if check.error else "",)
        yield f"{check.name:<6} {'ok    ' if check.error is None else 'failed'} {first}"
        yield from (f"{'':<13} {line}" for line in rest)


def _as_data(check: Check) -> dict[str, object]:
    error = check.error
    problem = None if error is None else {"reason": error.reason, "message": error.message, "hint": error.hint}
    return {"name": check.name, "found": check.found, "warnings": check.warnings, "error": problem}
