"""The reward models of a retrain: what they start from, how they are loaded to be trained, and how the last one is stored."""

import shutil
from functools import cached_property
from pathlib import Path

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.stage import InputRole
from ser_core.learn.compute.pieces import settle
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.text.reference_text import Form
from ser_core.memory.training import Sharding
from ser_core.store.stages.model_folder import MODEL
from ser_jobs.process.context import StageContext
from ser_jobs.training.retrain.training_data import is_trained_on, starts_from


class RetrainModels:
    """Loads and stores the models of one retrain.

    Args:
        context: Of the retrain.
        precision: How they are computed.
        form_of_base: How this retrain makes the rows of a model that starts from a base without a chat template.
    """

    def __init__(self, context: StageContext, precision: Precision, form_of_base: Form) -> None:
        self._context = context
        self._precision = precision
        self._form = _form(context, form_of_base)

    @cached_property
    def start(self) -> Path:
        """Folder of the weights that the last training starts from."""
        return self._context.fetch_folder(starts_from(self._context), MODEL)

    def load_to_train(self, folder: Path) -> RewardModel:
        """The model of ``folder``, ready for an engine."""
        spec = self._context.spec.spec
        return self._load(folder, seed=spec.training.seed, adapter=spec.reward_model.adapter)

    def store(self, model: RewardModel) -> None:
        """Store the trained model, in place of one that did not hold. All processes call it together; rank 0 writes."""
        self._context.silent("writing the model")
        if self._context.rank == 0:
            shutil.rmtree(self._context.workdir / MODEL, ignore_errors=True)
        model.store(self._context.workdir / MODEL, base=self.start, half=not is_trained_on(self._context))

    def load_stored(self, sharding: Sharding | None) -> RewardModel:
        """The model as it is stored. Only rank 0 has its files; the other ranks get the weights, or their pieces, from it.

        Args:
            sharding: How it was trained.
        """
        model = self._load(self._context.workdir / MODEL if self._context.rank == 0 else self.start, frozen=True)
        self._context.silent("placing the model")
        settle(model.network, self._precision.device, in_pieces=sharding is not None and sharding.pieces)
        return model

    def _load(self, folder: Path, *, seed: int = 0, adapter: AdapterSpec | None = None, frozen: bool = False) -> RewardModel:
        settings = self._context.spec.spec.reward_model
        return load(
            folder,
            self._precision,
            max_length=settings.max_length,
            seed=seed,
            adapter=adapter,
            frozen=frozen,
            form=self._form,
            template_text=settings.custom_text,
            together=True,
        )


def _form(context: StageContext, form_of_base: Form) -> Form | None:
    """How rows are made: None, as it has learnt, for a model that has learnt already."""
    if starts_from(context) is not InputRole.PREPARED:
        return None
    return form_of_base if context.spec.spec.reward_model.template == "reference" else Form.CHAT
