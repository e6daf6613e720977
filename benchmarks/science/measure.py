"""One cell: `ser run` to its end, then the two filters, then what each arm reached on the held-out pairs."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from benchmarks.science.averaged import average
from benchmarks.science.cells import Cell, document
from benchmarks.science.filters import Label, at_random, evaluated, oracle, precision_by_band, trained_on, truth_of
from benchmarks.science.rows import Result
from benchmarks.science.sets import ROOT, SETS, out_of_distribution, write_model, write_set
from benchmarks.science.steps import selections
from ser_core.cli.access.cluster import Place
from ser_core.cli.access.stored_run import open_run
from ser_core.data.tables import Decision, EvaluatedPair, FoldScores, HiddenLabel, LabeledPair, PairGroup, PairScores, PoolPair, read_table
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.scoring import score_pairs
from ser_core.loop.deciding.stages import LABEL_1
from ser_core.report.ledger import Ledger, Trained, fetch_model, read_ledger
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.commit import fetch_outputs
from ser_core.store.stages.manifest import Manifest
from ser_jobs.stages.filter import fold_evidence, fold_margins


def measure(cell: Cell, data: Path, folder: Path, *, steps: bool = False) -> list[Result]:
    """Carry out a cell, or go on with it.

    Args:
        cell: Which one.
        data: Folder of the sets' files.
        folder: Where everything is kept.
        steps: Measure single steps of its first loop, in place of its arms.

    Raises:
        subprocess.CalledProcessError: The run failed; its words are in the log beside its file.
    """
    pairs = write_set(SETS[cell.data_set], data, folder)
    count = len(pairs.read_text(encoding="utf-8").splitlines())
    model, file = write_model(folder), folder / cell.data_set / f"{cell.name}.yaml"
    file.write_text(yaml.safe_dump(document(cell, pairs, count, model, folder / "store"), sort_keys=False), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with file.with_suffix(".log").open("ab") as log:
        subprocess.run([str(Path(sys.executable).with_name("ser")), "run", str(file)], check=True, stdout=log, stderr=log)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stored = open_run(str(file), Place())
    with tempfile.TemporaryDirectory(prefix="ser-science-") as place:
        others = [] if SETS[cell.data_set].documentation else out_of_distribution(data)
        arms = Arms(cell, read_ledger(stored.store, stored.run), stored.store, Path(place), seconds, others)
        return list(arms.steps(model) if steps else arms.results(model))


class Arms:
    """What a finished run says of its arms."""

    def __init__(self, cell: Cell, ledger: Ledger, store: ObjectStore, folder: Path, seconds: float, others: Sequence[LabeledPair]) -> None:
        self._cell, self._ledger, self._store, self._folder, self._seconds, self._others = cell, ledger, store, folder, seconds, others
        assert ledger.prepared is not None
        self._prepared = ledger.prepared.manifest
        heldout = read_table(self._fetch(self._prepared, "heldout.parquet"), LabeledPair)
        groups = {one.id: one.group for one in read_table(self._fetch(self._prepared, "groups.parquet"), PairGroup)}
        self._heldout = sorted(heldout, key=lambda pair: (groups.get(pair.id, pair.id), pair.id))
        names = [groups.get(pair.id, pair.id) for pair in self._heldout]
        self._groups = [names.count(name) for name in dict.fromkeys(names)]

    def results(self, base: Path) -> Iterator[Result]:
        """One for each arm."""
        best, models = self._ledger.best_model(), self._ledger.models
        torch.set_num_threads(1)
        yield self._stored(self._cell.rule, best, loops=True)
        if self._cell.rule != "calibrated":
            return
        yield self._stored("seed", models[0])
        yield self._stored("loopOne", models[min(1, len(models) - 1)])
        yield self._stored("lowestLoss", min(models, key=lambda model: model.metrics.dev.log_loss))
        for name, control in self._ledger.controls.items():
            yield self._stored(name, control)
        yield self._averaged(best)
        yield from self._filters(base)

    def _averaged(self, best: Trained) -> Result:
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            names = [name for name in best.manifest.outputs if name.startswith("folds/")]
            fetch_outputs(self._store, best.manifest, names, Path(place))
            model = self._loaded(average(sorted((Path(place) / "folds").iterdir()), Path(place) / "averaged"))
            scores = evaluated(model, self._heldout, self._ledger.run.spec.training.tokens_per_batch)
            return self._result("averaged", scores, elsewhere=self._elsewhere(model))

    def _filters(self, base: Path) -> Iterator[Result]:
        decisions = read_table(self._fetch(self._ledger.filters[0].manifest, "decisions.parquet"), Decision)
        if not any(one.kept for one in decisions):
            return
        for name, labels in (("oracle", oracle(decisions, self._truth())), ("random", at_random(decisions, self._cell.seed))):
            yield self._taught(name, base, {pair: Label(better) for pair, better in labels.items()})

    def steps(self, base: Path) -> Iterator[Result]:
        """One for each of `STEPS`."""
        spec, labels = self._ledger.run.spec, self._ledger.stages[LABEL_1].manifest
        means = read_table(self._fetch(labels, "labels.parquet"), PairScores)
        folds = read_table(self._fetch(labels, "fold_labels.parquet"), FoldScores)
        seed = read_table(self._fetch(self._ledger.models[0].manifest, "dev_scores.parquet"), EvaluatedPair)
        found = fold_evidence(seed, means, fold_margins(folds, means))
        scores, own = np.array([(one.score_1, one.score_2) for one in means]).T, self._own_scores([one.id for one in means])
        for name, selection in selections(scores, own, found, spec.loop.thresholds, spec.training.pairs_per_step).items():
            rows = zip(means, selection.kept, selection.better, selection.target, selection.weight, strict=True)
            kept = {one.id: Label(int(better), float(target), float(weight)) for one, keep, better, target, weight in rows if keep}
            yield self._taught(name, base, kept)

    def _own_scores(self, names: Sequence[str]) -> NDArray[np.float64]:
        """(2, pairs) scores of the pool by the seed model itself, in the order of ``names``."""
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            model = self._loaded(fetch_model(self._store, self._ledger.models[0], Path(place)))
            rows, _ = score_pairs(model, self._pool(), self._ledger.run.spec.training.tokens_per_batch, np.full((len(names), 2), np.nan))
        found = {one.id: (one.score_1, one.score_2) for one in rows}
        return np.array([found[name] for name in names], dtype=np.float64).T

    def _taught(self, arm: str, base: Path, labels: Mapping[str, Label]) -> Result:
        """The seed and these labels of the pool, learnt from the base."""
        spec, truth = self._ledger.run.spec, self._truth()
        seed_pairs = [pair for side in ("seed", "dev") for pair in read_table(self._fetch(self._prepared, f"{side}.parquet"), LabeledPair)]
        model = trained_on(base, spec, seed_pairs, labels, self._pool())
        scores = evaluated(model, self._heldout, spec.training.tokens_per_batch)
        right = fmean(label.better == truth[pair] for pair, label in labels.items())
        return self._result(arm, scores, kept=[len(labels)], agreement=[right], elsewhere=self._elsewhere(model))

    def _truth(self) -> dict[str, int]:
        return truth_of(read_table(self._fetch(self._prepared, "pool_labels.parquet"), HiddenLabel))

    def _pool(self) -> list[PoolPair]:
        return list(read_table(self._fetch(self._prepared, "pool.parquet"), PoolPair))

    def _stored(self, arm: str, record: Trained, *, loops: bool = False) -> Result:
        scores = read_table(self._fetch(record.manifest, "heldout_scores.parquet"), EvaluatedPair)
        filters = self._ledger.filters if loops else ()
        decisions = [read_table(self._fetch(one.manifest, "decisions.parquet"), Decision) for one in filters]
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
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            return self._elsewhere(self._loaded(fetch_model(self._store, record, Path(place))))

    def _loaded(self, folder: Path) -> RewardModel:
        return load(folder, Precision("cpu"), max_length=self._ledger.run.spec.reward_model.max_length, frozen=True)

    def _elsewhere(self, model: RewardModel) -> float | None:
        """Accuracy on pairs of another kind than those that were learnt."""
        if not self._others:
            return None
        scores = evaluated(model, self._others, self._ledger.run.spec.training.tokens_per_batch)
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
        margins = np.array([one.score_chosen - one.score_rejected for one in ordered])
        longer = np.sign([one.tokens_chosen - one.tokens_rejected for one in ordered])
        return Result(
            *(self._cell.data_set, self._cell.budget, self._cell.seed, arm, _commit()),
            accuracy=float(np.mean(margins > 0)),
            log_loss=float(np.mean(np.logaddexp(0.0, -margins))),
            right="".join("1" if margin > 0 else "0" for margin in margins),
            groups=self._groups,
            length_gap=float(np.mean(np.sign(margins) * longer > 0) - np.mean(longer > 0)),
            kept=kept,
            agreement=agreement,
            elsewhere=elsewhere,
            bands=bands,
            processor_seconds=round(self._seconds, 1) or None,
        )

    def _fetch(self, manifest: Manifest, name: str) -> Path:
        return fetch_outputs(self._store, manifest, [name], self._folder / manifest.stage / str(manifest.iteration))[name]


def _commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    return answer.stdout.strip()
