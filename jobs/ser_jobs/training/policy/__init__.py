"""What sft and ppo share: their inputs and their progress."""
