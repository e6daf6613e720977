"""Checkpoints that are uploaded while the stage goes on computing. The stage waits only until the local files are written."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ser_core.store.objects.port import unwatched
from ser_core.store.stages.checkpoints import CheckpointStore, Together


class BackgroundCheckpoints(CheckpointStore):
    """Uploads one checkpoint at a time. A save waits for the upload before it, and raises the error of that upload. Every read waits, too.

    Args:
        checkpoints: Where they are uploaded to.
        folder: An empty folder of its own, for the files of a running upload.
    """

    def __init__(self, checkpoints: CheckpointStore, folder: Path) -> None:
        super().__init__(*checkpoints.place)
        self._folder = folder
        self._uploader = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None
        self._parts: list[BackgroundCheckpoints] = []

    def of(self, part: str) -> "BackgroundCheckpoints":
        """Checkpoints of a part of the stage, with uploads of their own."""
        made = BackgroundCheckpoints(super().of(part), self._folder / part)
        self._parts.append(made)
        return made

    def save(self, step: int, files: Mapping[str, Path], together: Together | None = None) -> None:
        """Move ``files`` away and begin to upload them.

        Raises:
            StoreError: The checkpoint before this one could not be uploaded.
        """
        self.wait()
        self._folder.mkdir(parents=True, exist_ok=True)
        taken = {name: path.replace(self._folder / name) for name, path in files.items()}
        self._under_way = self._uploader.submit(self._upload, step, taken, together)

    def _upload(self, step: int, files: Mapping[str, Path], together: Together | None) -> None:
        began = time.thread_time()
        super().save(step, files, together)
        self.beside = time.thread_time() - began

    def wait(self) -> None:
        """Wait until no upload is running.

        Raises:
            StoreError: A running upload failed.
        """
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()
        for part in self._parts:
            part.wait()

    def newest(
        self, folder: Path, contents: Path | None = None, alive: Callable[[], None] = unwatched
    ) -> tuple[int, dict[str, Path]] | None:
        """As in `CheckpointStore.newest`."""
        self.wait()
        return super().newest(folder, contents, alive)

    def newest_step(self) -> int | None:
        """As in `CheckpointStore.newest_step`."""
        self.wait()
        return super().newest_step()

    def newest_files(self) -> frozenset[str]:
        """As in `CheckpointStore.newest_files`."""
        self.wait()
        return super().newest_files()

    def delete_all(self) -> None:
        """As in `CheckpointStore.delete_all`."""
        self.wait()
        super().delete_all()
