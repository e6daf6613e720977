"""`ser score`: score a file of pairs or answers with a run's best reward model, or another one of it, as a stream of JSON lines."""

import functools
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import SOON, LoopOption, StoredRun, open_run
from ser_core.cli.views.next_step import how_it_goes_on
from ser_core.cli.views.output import print_warning, say
from ser_core.counted import counted
from ser_core.errors import QualityError, SpecError
from ser_core.full_disk import naming_full_disk
from ser_core.shown import shown

if TYPE_CHECKING:
    from ser_core.cli.access.score_input import ScoreRow
    from ser_core.learn.reward.reward_model import RewardModel
    from ser_core.report.ledger import Trained

ROWS_AT_ONCE = 512
TOLD_EVERY = 20 * ROWS_AT_ONCE
"""Rows after which the number is told again, on standard error."""

Input = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Pairs or answers: a file, a folder or a URI, in any form that a run reads; - is standard input."),
]
Run = Annotated[str, typer.Option("--run", "-r", metavar="RUN", help="Name of a run on a cluster, or the SERRun file of a run here.")]


def score(
    file: Input,
    run: Run,
    loop: LoopOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Score pairs or answers with the best reward model.

    Prints one JSON object a line, in the order of the rows.
    Pairs (any of the preference formats) get score_1, score_2, better (null: equal scores) and confidence; rows of prompt and answer
    get score.
    Scores are logits: compare them between answers to one prompt only.
    """
    from ser_core.cli.access.learnt_pairs import learnt_pairs
    from ser_core.cli.access.score_input import read_score_rows
    from ser_core.data.preparing.pairs.validation import pair_id
    from ser_core.data.reading.locations import Access
    from ser_core.report.copies import Copies
    from ser_core.report.findings import doubts, told
    from ser_core.report.ledger import read_ledger

    stored = open_run(run, Place(namespace, context, kubeconfig))
    spec = stored.run.spec
    given = spec.data.source or spec.data.seed
    columns = given.columns if given else None
    with tempfile.TemporaryDirectory(prefix="ser-score-") as name:
        folder = Path(name)
        empty: dict[str, list[str]] = {"prompt": [], "answer": []}
        rows = _noting_empty_texts(read_score_rows(file, columns, Access(stored.storage, spec.hub, SOON), folder / "data"), empty)
        with naming_full_disk(folder):
            first = next(rows)
        ledger = read_ledger(stored.store, stored.run, how_it_goes_on(stored))
        trained = ledger.model_of(loop)
        if doubt := doubts(trained):
            print_warning(f"{told(trained)} {doubt}")
        with naming_full_disk(folder):
            model, temperature = load_model(stored, trained, folder / "model"), trained.metrics.temperature
        # Nobody asks where there are no labels.
        learnt = functools.cache(lambda: learnt_pairs(Copies(stored.store, folder / "learnt"), ledger, trained))
        right: dict[bool, list[bool]] = {False: [], True: []}
        count = 0
        for row, result in score_stream(model, chain([first], rows), spec.training.tokens_per_batch, temperature):
            print(shown(as_json(result)), flush=True)
            count += 1
            if "agrees" in result:
                right[pair_id(row.prompt, *row.answers) in learnt()].append(result["agrees"])
            if count % TOLD_EVERY == 0:
                say(counted(count, "row"))
    say(f"scored {counted(count, 'row')}{_agreement(right[False], right[True])}")
    for name, places in empty.items():
        if places:
            what = f"{counted(len(places), 'row')} with an empty {name}, the first in {places[0]}"
            print_warning(f"{what}: no run learns from one, so its score says little")


def _agreement(new: Sequence[bool], learnt: Sequence[bool]) -> str:
    """How many labels agree; of pairs that the reward model has not learnt also alone."""
    labels = len(new) + len(learnt)
    if not labels:
        return ""
    told = f"; {(sum(new) + sum(learnt)) / labels:.1%} of {counted(labels, 'label')} agree"
    if not learnt:
        return told
    others = f"of the {len(new):,} others {sum(new) / len(new):.1%} agree" if new else "none is new to it"
    return f"{told}; the reward model has learnt {len(learnt):,} of these pairs: {others}"


def _noting_empty_texts(rows: "Iterator[ScoreRow]", empty: dict[str, list[str]]) -> "Iterator[ScoreRow]":
    """The rows; those with an empty prompt or answer are noted under its name."""
    for row in rows:
        place = f"{row.file}, line {row.line}".removeprefix(", ")
        if not row.prompt:
            empty["prompt"].append(place)
        if not all(row.answers):
            empty["answer"].append(place)
        yield row


def as_json(result: Mapping[str, Any]) -> str:
    """One line of strict JSON, whatever a row has as its id: what JSON or UTF-8 cannot hold is written as text."""
    try:
        line = json.dumps(result, ensure_ascii=False, allow_nan=False, default=str)
        line.encode()
    except ValueError:
        line = json.dumps({**result, "id": str(result.get("id"))}, default=str)
    return line


def load_model(stored: StoredRun, trained: "Trained", folder: Path) -> "RewardModel":
    """A reward model of a run.

    Args:
        stored: The run.
        trained: Which one.
        folder: For the model's files.

    Raises:
        SpecError: `storage.retain: best` has removed it (``ModelRemoved``), or the packages of the stages are missing.
        StoreError: The store cannot be read.
    """
    from ser_core.report.ledger import fetch_model

    try:
        from ser_core.learn.compute.precision import detect, set_up_process
        from ser_core.learn.reward.reward_model import load
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{error.name} is not installed", reason="MissingPackage", hint="in a checkout of this project: pip install '.[jobs]'"
        ) from error
    set_up_process(len(os.sched_getaffinity(0)))
    spec = stored.run.spec.reward_model
    return load(fetch_model(stored.store, trained, folder), detect(spec.precision), max_length=spec.max_length, frozen=True)


def score_stream(
    model: "RewardModel", rows: Iterable["ScoreRow"], tokens_per_batch: int, temperature: float
) -> "Iterator[tuple[ScoreRow, dict[str, Any]]]":
    """Each row with its result, in order; at most `ROWS_AT_ONCE` rows are held in memory."""
    from ser_core.learn.reward.scoring import score_rows

    remaining = iter(rows)
    while chunk := list(islice(remaining, ROWS_AT_ONCE)):
        texts = [(row.prompt, answer) for row in chunk for answer in row.answers]
        encoded = model.encoder.rows([prompt for prompt, _ in texts], [answer for _, answer in texts])
        scores = iter(score_rows(model, encoded, tokens_per_batch))
        for row in chunk:
            yield row, result_of(row, [float(next(scores)) for _ in row.answers], temperature)


def result_of(row: "ScoreRow", scores: Sequence[float], temperature: float) -> dict[str, Any]:
    """What is printed for one row.

    Args:
        row: The row.
        scores: Raw logits of its one or two answers.
        temperature: Divides the difference into log odds.

    Raises:
        QualityError: A score is not finite.
    """
    if not all(map(math.isfinite, scores)):
        raise QualityError(
            f"line {row.line}: the reward model's scores are {list(scores)}",
            reason="NonFiniteScore",
            hint="its files are damaged: restore them, or name another run",
        )
    result: dict[str, Any] = ({"file": row.file} if row.file else {}) | {"line": row.line} | ({} if row.name is None else {"id": row.name})
    if len(scores) == 1:
        return result | {"score": scores[0]}
    better = None if scores[0] == scores[1] else 1 if scores[0] > scores[1] else 2
    confidence = 1 / (1 + math.exp(-abs(scores[0] - scores[1]) / temperature))
    result |= {"score_1": scores[0], "score_2": scores[1], "better": better, "confidence": confidence}
    return result if row.better is None else result | {"agrees": better == row.better}
