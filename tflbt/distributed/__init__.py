"""Ranks: what they say to one another, and what ends a job in which one of them is stuck."""
