"""PPO: aligns a policy with a reward model. `ppo` reads from top to bottom; the other modules are what it calls."""
