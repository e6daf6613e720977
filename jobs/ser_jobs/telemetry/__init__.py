"""What a stage process shows of itself: events, progress, metrics, signs of life, memory, stacks."""
