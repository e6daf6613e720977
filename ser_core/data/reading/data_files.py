"""Which files of a folder, a prefix or a repository are data, by their names."""

from pathlib import PurePosixPath

from ser_core.data.reading.files.readers import extension_of
from ser_core.data.reading.saved_datasets import ABOUT


def is_data(name: str) -> bool:
    """Whether a file of this name is read, where it is not named itself."""
    last = PurePosixPath(name).name
    about = last in ABOUT or last.startswith(("dataset_info", "README"))
    return extension_of(name)[0] is not None and not kept_by_programs(name) and not about


def kept_by_programs(name: str) -> bool:
    """Whether programs keep it for themselves: its name, or that of a folder, begins with a dot or an underscore."""
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
