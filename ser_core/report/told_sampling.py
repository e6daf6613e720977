"""How an exported policy tells the programs of others to sample: as it was trained and measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GENERATION, CONFIG = "generation_config.json", "config.json"
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def tell_sampling(model: Path, temperature: float) -> None:
    """Write the generation config of a policy. Programs read it by default, and that of its base may hold penalties and limits.

    Args:
        model: Folder of a plain model; its file is replaced, not written into.
        temperature: Of the run.
    """
    path = model / GENERATION
    own = json.loads((path if path.is_file() else model / CONFIG).read_bytes())
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(_sampling(own, temperature), indent=2) + "\n", encoding="utf-8")


def _sampling(own: Mapping[str, Any], temperature: float) -> dict[str, Any]:
    tokens = {name: own[name] for name in _TOKENS if own.get(name) not in (None, -1)}  # some bases write -1 for none
    return tokens | {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
