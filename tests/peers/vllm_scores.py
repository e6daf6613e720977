"""Scores by vLLM, as whoever serves an exported reward model gets them; run by vLLM's own Python, which has nothing of this project.

Standard input is JSON: ``model``, a folder; and ``rows``, each a list of messages or, for an encoder, a list of prompt and answer.
The last line of standard output is the list of scores.
"""

import json
import os
import sys

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_PLUGINS": "",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


def main() -> None:
    """Score what standard input asks for."""
    from vllm import LLM

    asked = json.load(sys.stdin)
    model = LLM(model=asked["model"], runner="pooling", dtype="float32", enforce_eager=True)
    if isinstance(asked["rows"][0][0], str):
        scores = [model.score(prompt, answer, use_tqdm=False)[0].outputs.score for prompt, answer in asked["rows"]]
    else:
        render = model.get_tokenizer().apply_chat_template
        rows = [{"prompt_token_ids": render(messages, return_dict=False)} for messages in asked["rows"]]
        scores = [found.outputs.probs[0] for found in model.classify(rows, use_tqdm=False)]
    print(json.dumps(scores), flush=True)


if __name__ == "__main__":
    main()
