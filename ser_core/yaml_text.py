"""YAML as people write it in a SERRun."""

import re

import yaml

_FLOAT = re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
_DEEPEST = 100
_LONGEST_NUMBER = 100
_MOST_DIGITS = 4000
"""Python writes out whole numbers of 4300; they are refused with the field that they stand in."""
_OF_A_NUMBER = re.compile(r"[-+.0-9][-+0-9a-fA-FxX._:]*")
_BEGINS = (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken, yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken)
_ENDS = (yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken, yaml.BlockEndToken)


class Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, except that ``1e-4`` is a number, as in YAML 1.2."""


Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
for _first in "-+.0123456789":
    Loader.yaml_implicit_resolvers.setdefault(_first, []).insert(0, ("tag:yaml.org,2002:float", _FLOAT))


def harm(text: str) -> tuple[str, str] | None:
    """What of a YAML text would take far more memory or time than its size tells, and the remedy; None: nothing.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    depth = 0
    for token in yaml.scan(text, Loader=Loader):
        depth += isinstance(token, _BEGINS) - isinstance(token, _ENDS)
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):  # of a kilobyte of them a gigabyte of values can be made
            return "uses YAML anchors or aliases", "write the values out"
        if depth > _DEEPEST:  # the scanner's time goes with the square
            return "is nested too deep", "a SERRun has at most six levels"
        if isinstance(token, yaml.ScalarToken) and token.plain and _is_long_number(token.value):  # as does that of numbers to the base 60
            return (
                f"holds a number of {len(token.value)} characters",
                "write it shorter, or in quotes if it is a text",
            )
    return None


def _is_long_number(text: str) -> bool:
    longest = _MOST_DIGITS if text.isdecimal() else _LONGEST_NUMBER
    return len(text) > longest and _OF_A_NUMBER.fullmatch(text) is not None
