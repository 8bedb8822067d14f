"""Rewards: one number per candidate, higher is better."""
