"""The policy: generation, supervised fine-tuning, alignment by `ppo`, and the evaluation on held-out prompts."""
