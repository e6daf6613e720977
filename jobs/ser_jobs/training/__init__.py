"""What stages that train share, and the parts of a retrain and of sft and ppo."""
