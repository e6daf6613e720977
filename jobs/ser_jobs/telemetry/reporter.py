"""What a stage says while it runs: one JSON event a line, on standard output and in its log file."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ser_core.errors import is_disk_full
from ser_jobs.ranks import Ranks
from ser_jobs.telemetry.heartbeat import Heartbeat

_SECONDS_BETWEEN_PROGRESS = 0.5


class EventLog:
    """The `Reporter` of a stage process. Progress is throttled; the first and the last step always show.

    Args:
        path: The log file.
        stream: Standard output.
        heartbeat: Gets every step, whether it is shown or not.
        ranks: Of several processes only rank 0 shows progress. All other events carry the rank of their process.
    """

    def __init__(self, path: Path, stream: TextIO, heartbeat: Heartbeat | None = None, ranks: Ranks | None = None) -> None:
        self.path = path
        self._stream = stream
        self._heartbeat = heartbeat or Heartbeat(None)
        self._ranks = ranks or Ranks()
        self._last_progress = float("-inf")
        self._latest: dict[str, Any] | None = None

    def latest(self) -> dict[str, Any] | None:
        """The newest progress, even if it was not written; None before the first."""
        return self._latest

    def progress(self, step: int, total: int, unit: str) -> None:
        """Say that ``step`` of ``total`` ``unit`` are done."""
        self._heartbeat.step()
        if step >= total:
            self._heartbeat.silent("finishing")
        if self._ranks.rank != 0:
            return
        self._latest = {"step": step, "total": total, "unit": unit}
        now = time.monotonic()
        if step >= total or now - self._last_progress >= _SECONDS_BETWEEN_PROGRESS:
            self._last_progress = now
            self.event("progress", step=step, total=total, unit=unit)

    def event(self, name: str, **fields: Any) -> None:
        """Write one event with the time (UTC, milliseconds)."""
        time_text = datetime.now(UTC).isoformat(timespec="milliseconds")
        signed = {"rank": self._ranks.rank} if self._ranks.world_size > 1 else {}
        line = json.dumps({"time": time_text, "event": name, **signed, **fields}, ensure_ascii=False, default=str)
        try:
            with self.path.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
            print(line, file=self._stream, flush=True)
        except OSError as error:
            if not is_disk_full(error):  # a stage can do its work without its log
                raise
