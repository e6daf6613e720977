"""What an exported model tells the programs of others: a chat template that renders what it learnt, and no other; raw scores."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ser_core.errors import SpecError
from ser_core.learn.text.reference_text import Made, made

CHAT_TEMPLATE, TOKENIZER, CONFIG = "chat_template.jinja", "tokenizer_config.json", "config.json"
_MORE_TEMPLATES = "additional_chat_templates"


def tell_peers(model: Path, kind: Literal["rewardModel", "policy"]) -> None:
    """Make a model's folder say what it learnt.

    Models of version 0.1.0 have the chat template of their base, which they never saw: theirs is made from their tokenizer.

    Args:
        model: Folder of a plain model; its files are replaced, not written into.
        kind: What it is.

    Raises:
        SpecError: ``MissingPackage``: that tokenizer cannot be read here.
    """
    if kind == "rewardModel" and reads_pairs(model):
        _set_template(model, None)
        # Without it sentence-transformers' CrossEncoder returns the sigmoid of scores.
        _replace_json(model / CONFIG, {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}})
    elif how_made(model) is None:
        _set_template(model, _template_of_an_earlier_version(model, kind))


def reads_pairs(model: Path) -> bool:
    """Whether a model reads text pairs, as `ser_core.learn.reward.encoding` decides it."""
    tokenizer = _read_json(model / TOKENIZER)
    return bool(tokenizer.get("cls_token")) and bool(tokenizer.get("sep_token"))


def how_made(model: Path) -> Made | None:
    """What a model's chat template says of its ids; None: it has no template, or not one from here."""
    path = model / CHAT_TEMPLATE
    return made(path.read_text(encoding="utf-8")) if path.is_file() else None


def _template_of_an_earlier_version(model: Path, kind: Literal["rewardModel", "policy"]) -> str | None:
    try:
        from transformers import AutoTokenizer

        from ser_core.learn.policy.generation import policy_text
        from ser_core.learn.reward.encoding import Encoder
        from ser_core.learn.text.reference_text import Form
        from ser_core.learn.weights.pretrained import FROM_THE_FOLDER_ALONE
    except ModuleNotFoundError as error:
        raise SpecError(
            f"the chat template of a model of version 0.1.0 cannot be made: {error.name} is not installed",
            reason="MissingPackage",
            hint="in a checkout of this project: pip install '.[jobs]'",
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(model, **FROM_THE_FOLDER_ALONE)
    if kind == "rewardModel":
        return Encoder(tokenizer, 1 << 30, Form.TWO_TEXTS).chat_template
    text = policy_text(tokenizer, Form.TWO_TEXTS)
    return None if text is None else text.template


def _set_template(model: Path, template: str | None) -> None:
    (model / CHAT_TEMPLATE).unlink(missing_ok=True)
    shutil.rmtree(model / _MORE_TEMPLATES, ignore_errors=True)
    if "chat_template" in _read_json(model / TOKENIZER):
        _replace_json(model / TOKENIZER, {"chat_template": None})
    if template is not None:
        (model / CHAT_TEMPLATE).write_text(template, encoding="utf-8")


def _read_json(path: Path) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def _replace_json(path: Path, changed: Mapping[str, Any]) -> None:
    content = {name: value for name, value in {**_read_json(path), **changed}.items() if value is not None or name not in changed}
    path.unlink()
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
