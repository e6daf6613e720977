"""How models and tokenizers are read."""

from collections.abc import Mapping
from types import MappingProxyType

FROM_THE_FOLDER_ALONE: Mapping[str, bool] = MappingProxyType({"local_files_only": True, "trust_remote_code": False})
"""Options of every ``from_pretrained``: no hub, and none of a model's own code. Without a plain no transformers asks on a terminal."""
