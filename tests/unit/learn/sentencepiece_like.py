"""Tokenizers as SentencePiece ones are: they put a space before every text, or before the first alone."""

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed

SPACE = "▁"
WORDS = ("Question:", "Answer:", "Human:", "good", "bad", "word", "foo", "bar")


def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """``always``: as Llama 2 and Mistral; ``first``: their newer form; ``never``: as Gemma.

    Args:
        kind: When a text gets a space in front.
    """
    letters = [SPACE, SPACE * 2, "\n", *(chr(code) for code in range(33, 127)), *"ùà日本🙂"]
    pieces, merges = dict.fromkeys(["<unk>", "<s>", "</s>", *letters]), [(SPACE, SPACE)]
    for word in WORDS:
        found = [*((word[:end], word[end]) for end in range(1, len(word))), (SPACE, word)]
        merges += found
        pieces |= dict.fromkeys(map("".join, found))
    made = Tokenizer(
        models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges, unk_token="<unk>", fuse_unk=True)
    )
    if kind == "first":
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=False)
    else:
        prepend = [normalizers.Prepend(SPACE)] if kind == "always" else []
        made.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(Regex(" "), SPACE)])
    made.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def policy(folder: Path, kind: str) -> Path:
    """A random causal language model with such a tokenizer, and with a chat template that no training ever sees."""
    tokens = tokenizer(kind)
    tokens.chat_template = "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}{% endfor %}"
    tokens.save_pretrained(folder)
    set_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}
    Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokens), max_position_embeddings=256, **sizes)).save_pretrained(folder)
    return folder
