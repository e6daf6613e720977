"""PPO: aligns a policy with a reward model. Read `ppo` first, from top to bottom; it calls the other modules.

The words: a *rollout* is the phase of a step that samples answers and scores them. An *answer* is a text that the policy sampled for a
prompt. The *reference policy* is the policy as it was before PPO; it stays frozen. The *witness* is the seed's reward model: it scores
the same answers, and PPO does not learn from its scores.

These are left out on purpose:

- *Truncated importance weights.* They correct the difference between the probabilities of a generator and those of the trainer. Here the
  trainer computes the old log-probabilities itself.
- *Another lambda for the critic* (VC-PPO). It helps where answers have thousands of tokens.
- *Generation layer by layer, where all weights learn.* Where these are cut into pieces, a whole copy is made to generate with, in the type
  of the products. What lies below an adapter needs none.
- *Entropy over the vocabulary.* The mean of ``-log p`` over the sampled tokens is an unbiased estimate of it and costs nothing.
"""
