"""The reward model: how a pair becomes tokens, a score and a loss, and how the model is trained."""
