"""PPO: aligns a policy with a reward model. `ppo` reads from top to bottom; the other modules are what it calls.

Left out on purpose:

- *Truncated importance weights.* They mend the difference between an engine that generates and the trainer. Old log-probabilities are the
  trainer's own, and the one generator there is computes with the policy's own network.
- *Another lambda for the critic* (VC-PPO). It pays for answers of thousands of tokens.
- *The same number of micro-batches in every process.* Nothing in them waits for another process: gradients are summed after the last.
- *Sharded weights.* Every process holds all weights, so nothing is gathered to generate, and no weights are sent to a generator.
- *Entropy over the vocabulary.* The mean of ``-log p`` of sampled tokens estimates it without a bias, and for nothing.
"""
