"""The policy: generation, supervised fine-tuning, alignment by `ppo`, measured on held-out prompts."""
