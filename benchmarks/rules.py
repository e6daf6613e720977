"""One SERRun under each learning rule, on the same split with the same seed, as a Markdown table (docs/results.md).

The controls belong to the data, not to a rule: they are trained with the first rule alone.

    python benchmarks/rules.py examples/hh-small.yaml --rules calibrated paper reference --min-samples 400
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

HEAD = "| rule | loop | status | pairs | kept | agreement | dev | held-out | 95 % interval |\n|---|---|---|---|---|---|---|---|---|"


def main() -> None:
    """Run, continue or just read the runs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("serrun", type=Path)
    parser.add_argument("--rules", nargs="+", default=["calibrated", "paper", "reference"])
    parser.add_argument("--min-samples", type=int, default=600, help="rule paper: pairs that a status needs (default: %(default)s)")
    arguments = parser.parse_args()
    print(HEAD)
    for number, rule in enumerate(arguments.rules):
        file = variant(arguments.serrun, rule, arguments.min_samples, controls=number == 0)
        subprocess.run([*ser("run"), str(file)], check=True, stdout=subprocess.DEVNULL)
        answer = subprocess.run([*ser("evolution"), "-o", "json", str(file)], check=True, stdout=subprocess.PIPE)
        print("\n".join(rows(rule, json.loads(answer.stdout))), flush=True)


def variant(serrun: Path, rule: str, min_samples: int, *, controls: bool) -> Path:
    """A copy of ``serrun`` beside it with another name and rule."""
    document = yaml.safe_load(serrun.read_text(encoding="utf-8"))
    document["metadata"]["name"] += f"-{rule}"
    loop = document["spec"]["loop"]
    loop["rule"] = rule
    loop["thresholds"] = {**loop.get("thresholds", {}), "minSamples": min_samples}
    loop["controls"] = loop.get("controls", []) if controls else []
    file = serrun.with_name(f"{serrun.stem}.{rule}.yaml")
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return file


def rows(rule: str, evolution: dict[str, Any]) -> Iterator[str]:
    """Table rows of one run: the loops, then its controls, then the length rule."""
    for row in evolution["iterations"]:
        best = " (best)" if row["iteration"] == evolution["bestIteration"] else ""
        seed = row["iteration"] == 0
        yield line(
            rule,
            "seed" + best if seed else f"{row['iteration']}{best}",
            "" if seed else row["learningStatus"],
            "" if seed else row["labeled"],
            "" if seed else row["kept"],
            row["agreement"],
            row["devAccuracy"],
            row["accuracy"],
            interval(row),
        )
    for control in evolution["controls"]:
        yield line("", control["control"], "", "", "", None, None, control["accuracy"], interval(control))
    if evolution["lengthOnlyAccuracy"] is not None:
        yield line("", "longer answer wins", "", "", "", None, None, evolution["lengthOnlyAccuracy"], "")


def line(*cells: Any) -> str:
    """One row of the table; numbers with three digits."""
    return f"| {' | '.join(f'{cell:.3f}' if isinstance(cell, float) else str(cell if cell is not None else '') for cell in cells)} |"


def interval(row: dict[str, Any]) -> str:
    """The 95 % interval of a held-out accuracy; empty when there is none."""
    return "" if row["accuracyLow"] is None else f"{row['accuracyLow']:.3f} to {row['accuracyHigh']:.3f}"


def ser(command: str) -> Sequence[str]:
    """The `ser` command of this environment."""
    return (str(Path(sys.executable).with_name("ser")), command)


if __name__ == "__main__":
    main()
