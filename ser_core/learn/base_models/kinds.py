"""Which kinds of base models can score, and which can write, by what transformers lists."""

from transformers.models.auto import modeling_auto

from ser_core.data.reading.models.base_model import BaseModel

SCORES = modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
WRITES = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
_ENCODERS = frozenset(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES) | {"bert-generation"}
_TWO_PARTS = frozenset(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
_READ_PADDING = frozenset({"xlnet", "fnet", "nystromformer", "canine"})
"""Kinds that transformers can load to score with, and that do not leave padding out (measured)."""
WITHOUT_BF16 = frozenset({"deberta"})
"""Kinds that fail under autocast: DeBERTa of the first version masks with a number that bf16 does not have."""
_PERMUTED = frozenset({"xlnet"})
"""Kinds that transformers lists as language models, and that do not write from left to right."""

_GENERATE_OTHERWISE = frozenset({"rwkv", "recurrent_gemma"})
"""Kinds whose generation fails, or does not give the tokens of their own forward pass (measured)."""


def why_it_cannot_score(model: BaseModel) -> str | None:
    """Why it cannot become a reward model, said after "is a …,"; None: it can."""
    if model.model_type not in SCORES:
        return "which transformers cannot load as a sequence-classification model"
    if _has_two_parts(model):
        return "an encoder with a decoder, of which only one would read the row"
    if model.model_type in _ENCODERS and model.config.get("is_decoder"):
        return "whose config.json has is_decoder, so that the token which is scored would see nothing of the row"
    if model.model_type == "xmod" and not model.config.get("default_language"):
        return "which needs default_language in its config.json"
    return "whose score of a row depends on the padding of its batch" if model.model_type in _READ_PADDING else None


def why_it_cannot_write(model: BaseModel) -> str | None:
    """Why it cannot become a policy; None: it can."""
    config, kind = model.config, model.model_type
    if kind not in WRITES:
        return "which transformers cannot load as a causal language model"
    if _has_two_parts(model):
        return "an encoder with a decoder"
    if kind in _GENERATE_OTHERWISE:
        return "whose generation does not follow its own probabilities"
    encodes = kind in _ENCODERS and not (config.get("is_decoder") or config.get("causal"))
    both_ways = config.get("is_causal") is False or config.get("use_bidirectional_attention") not in (None, False, "vision")
    return "which reads in both directions" if encodes or both_ways or kind in _PERMUTED else None


def _has_two_parts(model: BaseModel) -> bool:
    return bool(model.config.get("is_encoder_decoder")) or model.model_type in _TWO_PARTS
