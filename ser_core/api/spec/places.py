"""Where data files are, as a specification names it."""

from typing import Annotated

from pydantic import Field

from ser_core.api.model import Model
from ser_core.api.values.uris import DataUri

ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
PlaceName = Annotated[str, Field(min_length=1, max_length=500)]


class PlaceSpec(Model):
    """Data files, or some of those that a dataset has."""

    uri: DataUri
    """Where they are: `hf://organisation/dataset[@revision]`, `s3://bucket/key`, or `file://` (only `ser run`)."""
    path: PlaceName | None = None
    """One file or folder below `uri`, such as `data/helpful`; null for all of it."""
    subset: PlaceName | None = None
    """The subset (configuration) that the dataset's card names, such as `default`; without a card files with this word in their path."""
    split: PlaceName | None = None
    """The split that the dataset's card names, such as `train_prefs`; without a card files with this word in their path. Null for those
    of training."""
