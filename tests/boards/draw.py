"""Draw a board from the data of a Prometheus, and say what is on it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boards.build import browser, page

FOLDER = Path(__file__).parents[2] / "charts" / "ser-operator" / "dashboards"
BOARDS = ("ser-runs", "ser-run", "ser-operator")
WIDTH = 1600
DRAWING_SECONDS = 600


@dataclass(frozen=True)
class Moment:
    """Where a board asks, and for which time.

    Attributes:
        prometheus: Its address.
        start: Seconds since the epoch.
        end: Likewise.
        scrape: Seconds between two scrapes, as the data source of Grafana is told.
        variables: What is chosen at the top of the board.
    """

    prometheus: str
    start: float
    end: float
    scrape: float = 30
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """What was seen on a panel.

    Attributes:
        title: Of the panel.
        type: Its kind in Grafana.
        series: How many series with a number each query brought, by its letter.
        text: Words on it.
        axis: Words at its axes, which are not text of the page.
        colours: Of its series by their names.
        problems: What went wrong.
    """

    title: str
    type: str
    series: Mapping[str, int]
    text: Sequence[str]
    axis: Sequence[str]
    colours: Mapping[str, str]
    problems: Sequence[str]


@dataclass(frozen=True)
class Drawing:
    """A board as a picture.

    Attributes:
        picture: A PNG file.
        panels: In the board's order.
        problems: What the page complained of.
    """

    picture: Path
    panels: Sequence[Panel]
    problems: Sequence[str]


def draw(board: str, moment: Moment, picture: Path, mode: str = "dark") -> Drawing:
    """Draw one board.

    Args:
        board: One of `BOARDS`.
        moment: The data.
        picture: The PNG file to write, in a folder that need not exist yet.
        mode: ``dark`` or ``light``.

    Raises:
        RuntimeError: The browser could not draw; the text is what it said.
    """
    built = page()
    picture.parent.mkdir(parents=True, exist_ok=True)
    request = {
        "folder": str(built.folder),
        "chromium": browser(),
        "board": json.loads((FOLDER / f"{board}.json").read_text()),
        "prometheus": moment.prometheus,
        "moment": {**vars(moment), "width": WIDTH},
        "mode": mode,
        "picture": str(picture),
    }
    command = [str(built.node), str(built.script)]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=DRAWING_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{board} was not drawn: {done.stderr}")
    said = json.loads(done.stdout)
    return Drawing(picture, [_panel(each) for each in said["panels"]], said["problems"])


def _panel(said: Mapping[str, Any]) -> Panel:
    series = {each["refId"]: each["series"] for each in said["asked"]}
    return Panel(said["title"], said["type"], series, said["text"], said["axis"], said["colours"], said["problems"])
