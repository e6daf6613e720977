"""What chance makes of numbers over pairs that come in groups (`splitBy`): pairs of one group are right or wrong together. Numpy alone."""
