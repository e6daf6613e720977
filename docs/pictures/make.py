"""Make the pictures of the documents from the quickstart's run, with a headless Chromium.

make quickstart
.venv/bin/python docs/pictures/make.py [--chromium chromium]
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "build" / "quickstart" / "report.html"


def picture(chromium: str, page: Path, target: Path, width: int, height: int) -> None:
    """Draw the first ``height`` pixels of a page."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                "--disable-gpu",
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={target}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


def evolution(folder: Path) -> Path:
    """What `ser evolution` says, as a page."""
    from rich.console import Console
    from rich.text import Text

    command = [str(ROOT / ".venv" / "bin" / "ser"), "evolution", str(ROOT / "examples" / "quickstart.yaml")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    console = Console(record=True, width=100, file=(folder / "told").open("w"))
    console.print(Text(told))
    page = folder / "evolution.html"
    page.write_text(console.export_html(inline_styles=True), encoding="utf-8")
    return page


def main() -> None:
    """Make both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="chromium")
    chromium = parser.parse_args().chromium
    if not REPORT.exists():
        raise SystemExit(f"error: {REPORT} is missing\nhint: make quickstart makes it")
    picture(chromium, REPORT, Path(__file__).parent / "report.png", 1060, 1240)
    with tempfile.TemporaryDirectory() as name:
        picture(chromium, evolution(Path(name)), Path(__file__).parent / "evolution.png", 890, 560)


if __name__ == "__main__":
    main()
