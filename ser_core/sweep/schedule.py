"""Which runs of a sweep may start now."""

from collections.abc import Collection, Sequence


def may_start(leaders: Sequence[int | None], started: Collection[int], ended: Collection[int], parallel: int) -> list[int]:
    """Numbers of the runs to start, in their order.

    Args:
        leaders: For each run the one whose stages it takes over. It must have ended before: runs never wait for each other's stages.
        started: Runs that were started, the ended ones included.
        ended: Runs that have ended, in whatever way: what a failed leader has committed is taken over too.
        parallel: Runs that live at once.
    """
    room = parallel - (len(started) - len(ended))
    waiting = [number for number, leader in enumerate(leaders) if number not in started and (leader is None or leader in ended)]
    return waiting[: max(0, room)]
