"""The subsets and splits that a dataset's card names: the list ``configs`` at the head of its ``README.md``.

Source: https://huggingface.co/docs/hub/datasets-manual-configuration. Cards come from strangers: what is no such list says nothing.
"""

import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import yaml

CARD = "README.md"
LONGEST = 1 << 18
"""Bytes of a card that are read."""
_MOST_PATTERNS = 10_000
"""Of a whole card, each subset counted as one more: a few lines of YAML can refer to the same list again and again."""
_ONLY_SPLIT = "train"
"""Split of files that a card gives to none."""


class _Words(yaml.SafeLoader):
    """Numbers and times stay words: a name is asked for as it is written, and a float to the base 60 may overflow."""


_WORDS = ("int", "float", "timestamp", "binary")
_Words.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] not in _WORDS]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind in _WORDS:
    _Words.add_constructor(f"tag:yaml.org,2002:{_kind}", lambda _, node: node.value)


@dataclass(frozen=True, slots=True)
class Subset:
    """One configuration."""

    name: str
    folder: str
    """Its patterns are relative to this folder; empty for all."""
    splits: Mapping[str, tuple[str, ...]]
    """Patterns of files, by split; empty where the files' names tell the split."""
    is_default: bool

    def files(self, names: Collection[str], split: str | None = None) -> list[str]:
        """Those of ``names`` that belong to it, or to one of its splits."""
        patterns = self._all_patterns() if split is None else self.splits[split]
        return [name for name in names if any(_matches(name.split("/"), self._whole(pattern)) for pattern in patterns)]

    def _all_patterns(self) -> list[str]:
        return [pattern for patterns in self.splits.values() for pattern in patterns] or ["**"]

    def _whole(self, pattern: str) -> list[str]:
        return [part for part in f"{self.folder}/{pattern}".split("/") if part not in ("", ".")]


def subsets_of(card: bytes) -> tuple[Subset, ...]:
    """The subsets that name their files, in the card's order; none where it names none, or is no card."""
    start, _, rest = card.decode(errors="replace").lstrip("\ufeff \r\n").partition("\n")
    head = rest.replace("\r\n", "\n").partition("\n---")[0]
    if start.strip() != "---":
        return ()
    try:
        listed = yaml.load(head, Loader=_Words)["configs"]
        return tuple(_subsets(one for one in listed if one.get("data_files") or one.get("data_dir")))
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return ()


def default_of(subsets: tuple[Subset, ...]) -> Subset | None:
    """The one that is meant where none is named; None: several may be."""
    marked = [one for one in subsets if one.is_default] or [one for one in subsets if one.name == "default"] or subsets
    return marked[0] if len(marked) == 1 else None


def _subsets(listed: Iterable[Mapping[str, Any]]) -> Iterator[Subset]:
    left = _MOST_PATTERNS
    for told in listed:
        patterns = list(islice(_patterns(told.get("data_files")), left))
        left -= len(patterns) + 1
        if left < 0:
            raise ValueError("more patterns than a dataset has")
        splits: dict[str, list[str]] = {}
        for split, pattern in patterns:
            splits.setdefault(split, []).append(pattern)
        named = {split: tuple(each) for split, each in splits.items()}
        yield Subset(str(told.get("config_name", "default")), str(told.get("data_dir") or ""), named, told.get("default") is True)


def _patterns(files: Any) -> Iterator[tuple[str, str]]:
    """Split and pattern, of all forms in which a card may name files."""
    if isinstance(files, Mapping):
        files = [{"split": split, "path": path} for split, path in files.items()]
    for one in [files] if isinstance(files, str) else files or ():
        if isinstance(one, str):
            yield _ONLY_SPLIT, one
        else:
            paths = one["path"]
            yield from ((str(one.get("split", _ONLY_SPLIT)), str(path)) for path in ([paths] if isinstance(paths, str) else paths))


def _matches(name: list[str], pattern: list[str]) -> bool:
    """Whether the parts of a path are those of a pattern; ``**`` stands for any number of folders, and at its end for a file in them."""
    reached = {0}
    for number, part in enumerate(pattern):
        if part == "**":
            last = number == len(pattern) - 1
            reached = set(range(min(reached, default=len(name) + 1) + last, len(name) + 1))
        else:
            reached = {start + 1 for start in reached if start < len(name) and fnmatch.fnmatchcase(name[start], part)}
    return len(name) in reached
