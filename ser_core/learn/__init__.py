"""Reward-model learning. The only package that imports torch; modules that need numpy alone say so."""
