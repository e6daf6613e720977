"""What a finished run says of its arms; the two filters are trained beside it."""

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from benchmarks.science.averaged import average
from benchmarks.science.cells import Cell
from benchmarks.science.filters import at_random, evaluated, oracle, precision_by_band, truth_of
from benchmarks.science.lessons import Label, Lesson, of_models, of_people, taught
from benchmarks.science.rows import Result, shortened
from benchmarks.science.sets import ROOT
from ser_core.data.tables import Decision, EvaluatedPair, HiddenLabel, LabeledPair, PoolPair, read_table
from ser_core.learn.compute.precision import Precision
from ser_core.learn.evaluation.margins import margins_of
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.report.copies import Copies
from ser_core.report.heldout import read_groups
from ser_core.report.ledger import Ledger, Trained, fetch_model
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.commit import fetch_outputs


class Arms:
    """The arms of one cell."""

    def __init__(
        self, cell: Cell, ledger: Ledger, store: ObjectStore, base: Path, folder: Path, seconds: float, others: Sequence[LabeledPair]
    ) -> None:
        self.cell, self.ledger, self._store, self.base, self._folder = cell, ledger, store, base, folder
        self.copies = Copies(store, folder)
        self._seconds, self._others = seconds, others
        assert ledger.prepared is not None
        self._prepared = ledger.prepared
        heldout = read_table(self.copies.of(self._prepared, "heldout.parquet"), LabeledPair)
        groups = self.groups()
        self._heldout = sorted(heldout, key=lambda pair: (groups.get(pair.id, pair.id), pair.id))
        self._groups = Counter(groups.get(pair.id, pair.id) for pair in self._heldout)

    def results(self) -> Iterator[Result]:
        """One for each arm, that of the cell's rule at the end: it says that all are there."""
        torch.set_num_threads(1)
        if self.cell.rule == "calibrated":
            yield from self._companions()
        yield self.stored(self.cell.rule, self.ledger.best_model(), loops=True)

    def _companions(self) -> Iterator[Result]:
        """The arms that a run of calibrated gives beside its own, or that are trained beside it."""
        best, models = self.ledger.best_model(), self.ledger.models
        yield self.stored("seed", models[0])
        yield self.stored("loopOne", models[min(1, len(models) - 1)])
        yield self.stored("lowestLoss", min(models, key=lambda model: model.metrics.dev.log_loss))
        for name, control in self.ledger.controls.items():
            yield self.stored(name, control)
        yield self._averaged(best)
        yield from self._filters()

    def _averaged(self, best: Trained) -> Result:
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            names = [name for name in best.manifest.outputs if name.startswith("folds/")]
            fetch_outputs(self._store, best.manifest, names, Path(place))
            model = self._loaded(average(sorted((Path(place) / "folds").iterdir()), Path(place) / "averaged"))
            scores = evaluated(model, self._heldout, self.ledger.run.spec.training.tokens_per_batch)
            return self._result("averaged", scores, elsewhere=self._elsewhere(model))

    def _filters(self) -> Iterator[Result]:
        decisions = read_table(self.copies.of(self.ledger.filters[0], "decisions.parquet"), Decision)
        if not any(one.kept for one in decisions):
            return
        for name, labels in (("oracle", oracle(decisions, self._truth())), ("random", at_random(decisions, self.cell.seed))):
            taken = {pair: Label(better) for pair, better in labels.items()}
            yield self.taught(name, taken, [*of_people(self.seed()), *of_models(self.pool(), taken)])

    def taught(self, arm: str, labels: Mapping[str, Label], lessons: Sequence[Lesson], first: Sequence[Lesson] = ()) -> Result:
        """What a model reaches that learns these lessons from the base, after ``first``; ``labels`` are the self-labels among them."""
        spec, truth = self.ledger.run.spec, self._truth()
        model = taught(self.base, spec, lessons, first)
        scores = evaluated(model, self._heldout, spec.training.tokens_per_batch)
        right = fmean(label.better == truth[pair] for pair, label in labels.items())
        return self._result(arm, scores, kept=[len(labels)], agreement=[right], elsewhere=self._elsewhere(model))

    def seed(self) -> list[LabeledPair]:
        """The label budget."""
        return [pair for side in ("seed", "dev") for pair in read_table(self.copies.of(self._prepared, f"{side}.parquet"), LabeledPair)]

    def pool(self) -> list[PoolPair]:
        """The pairs that are labelled by models."""
        return list(read_table(self.copies.of(self._prepared, "pool.parquet"), PoolPair))

    def groups(self) -> dict[str, str]:
        """Group of each labelled pair, and of pairs of the pool that share its prompt."""
        return read_groups(self.copies, self.ledger) or {}

    def _truth(self) -> dict[str, int]:
        return truth_of(read_table(self.copies.of(self._prepared, "pool_labels.parquet"), HiddenLabel))

    def stored(self, arm: str, record: Trained, *, loops: bool = False) -> Result:
        """What a model of the run itself has reached; with ``loops``, what each loop kept."""
        scores = read_table(self.copies.of(record, "heldout_scores.parquet"), EvaluatedPair)
        filters = self.ledger.filters if loops else ()
        decisions = [read_table(self.copies.of(one, "decisions.parquet"), Decision) for one in filters]
        return self._result(
            arm,
            scores,
            kept=[one.metrics.kept for one in filters],
            agreement=[one.metrics.agreement for one in filters],
            elsewhere=self._elsewhere_stored(record),
            bands=[precision_by_band(rows) for rows in decisions],
        )

    def _elsewhere_stored(self, record: Trained) -> float | None:
        if not self._others:
            return None
        return self._elsewhere(self.stored_model(record))

    def stored_model(self, record: Trained) -> RewardModel:
        """The model of a loop."""
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            return self._loaded(fetch_model(self._store, record, Path(place)))

    def _loaded(self, folder: Path) -> RewardModel:
        return load(folder, Precision("cpu"), max_length=self.ledger.run.spec.reward_model.max_length, frozen=True)

    def _elsewhere(self, model: RewardModel) -> float | None:
        """Accuracy on pairs of another kind than those that were learnt."""
        if not self._others:
            return None
        scores = evaluated(model, self._others, self.ledger.run.spec.training.tokens_per_batch)
        return float(np.mean([one.score_chosen > one.score_rejected for one in scores]))

    def _result(
        self,
        arm: str,
        scores: Sequence[EvaluatedPair],
        kept: Sequence[int] = (),
        agreement: Sequence[float | None] = (),
        elsewhere: float | None = None,
        bands: Sequence[Sequence[float | None]] = (),
    ) -> Result:
        by_id = {one.id: one for one in scores}
        ordered = [by_id[pair.id] for pair in self._heldout]
        margins = margins_of(ordered)
        longer = np.sign([one.tokens_chosen - one.tokens_rejected for one in ordered])
        return Result(
            *(self.cell.data_set, self.cell.budget, self.cell.seed, arm, _commit()),
            accuracy=float(np.mean(margins > 0)),
            log_loss=float(np.mean(np.logaddexp(0.0, -margins))),
            right="".join("1" if margin > 0 else "0" for margin in margins),
            groups=list(self._groups.values()),
            names=[shortened(name) for name in self._groups],
            length_gap=float(np.mean(np.sign(margins) * longer > 0) - np.mean(longer > 0)),
            kept=kept,
            agreement=agreement,
            elsewhere=elsewhere,
            bands=bands,
            processor_seconds=round(self._seconds, 1) or None,
        )


def _commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    return answer.stdout.strip()
