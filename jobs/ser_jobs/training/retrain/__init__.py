"""What a retrain or a control learns from, its plan, its models, its progress, and its judge."""
