"""The models of the cross-fit folds: stored beside the reward model, and kept from one attempt of the stage to the next."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

from ser_core.api.stage import InputRole
from ser_core.errors import CorruptObject
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.manifest import OutputFile
from ser_core.store.stages.model_folder import ADAPTER_CONFIG, BASE, FOLDS, MODEL
from ser_jobs.process.context import StageContext
from ser_jobs.training.model_output import base_files, model_files
from ser_jobs.training.retrain.training_data import is_trained_on, starts_from

_ARCHIVE = "model.tar"


class FoldModels:
    """The fold models of one retrain. Each is kept among the stage's checkpoints as soon as it is trained. Rank 0 writes.

    Args:
        context: Of the retrain.
    """

    def __init__(self, context: StageContext) -> None:
        self._context = context

    def start_of(self, fold: int) -> Path:
        """Folder of the weights that a fold's training starts from: the base's, or those of the fold's last model."""
        return self._context.fetch_folder(*self._source(fold))

    def has(self, training: int) -> bool:
        """Whether an attempt has kept the model of that training."""
        return self._checkpoints(training).newest_step() is not None

    def keep(self, training: int, fold: int, model: RewardModel) -> None:
        """Keep a trained model, so that no later attempt trains it again. It is safe when this returns. All processes call it together.

        Args:
            training: Number of the training in the plan.
            fold: The fold that it holds back.
            model: What it has made.
        """
        self._context.silent("keeping a fold's model")
        folder = self._context.workdir / "trained" / str(training)
        model.store(folder, base=self.start_of(fold), half=not is_trained_on(self._context))
        if self._context.rank:
            return
        archive = self._context.workdir / _ARCHIVE
        with tarfile.open(archive, "w") as packed:
            for name, path in model_files(folder.parent, folder.name).items():
                packed.add(path, name.partition("/")[2])
        checkpoints = self._checkpoints(training)
        checkpoints.save(0, {_ARCHIVE: archive})
        checkpoints.newest_step()

    def files(self, trainings: Sequence[int]) -> dict[str, Path]:
        """The outputs ``folds/…``: the models of these trainings, in the order of the folds. What an earlier attempt has kept is fetched.

        Raises:
            CorruptObject: A kept model is damaged.
        """
        found: dict[str, Path] = {}
        for fold, training in enumerate(trainings):
            kept, folder = self._context.workdir / "trained" / str(training), self._context.workdir / FOLDS / str(fold)
            if kept.exists():
                folder.parent.mkdir(exist_ok=True)
                kept.rename(folder)
            else:
                self._unpack(training, fold, folder)
            found |= model_files(self._context.workdir, f"{FOLDS}/{fold}")
        return found

    def bases(self, folds: int) -> dict[str, OutputFile]:
        """What the fold models lie on where they are adapters: files that inputs have already."""
        found: dict[str, OutputFile] = {}
        for fold in range(folds):
            role, name = self._source(fold)
            found |= base_files(self._context, role, name, f"{FOLDS}/{fold}")
        return found

    def _unpack(self, training: int, fold: int, folder: Path) -> None:
        kept = self._checkpoints(training).newest(self._context.workdir / "kept" / str(training))
        if kept is None:
            raise CorruptObject(f"the kept model of fold {fold} is damaged", hint="remove the stage's checkpoints, and it trains again")
        folder.mkdir(parents=True)
        with tarfile.open(kept[1][_ARCHIVE]) as packed:
            packed.extractall(folder, filter="data")
        if (folder / ADAPTER_CONFIG).exists():
            (folder / BASE).symlink_to(self.start_of(fold).resolve(), target_is_directory=True)

    def _source(self, fold: int) -> tuple[InputRole, str]:
        role = starts_from(self._context)
        return role, MODEL if role is InputRole.PREPARED else f"{FOLDS}/{fold}"

    def _checkpoints(self, training: int) -> CheckpointStore:
        return self._context.checkpoints.of(f"fold-{training}")
