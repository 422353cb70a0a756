"""Ranks: how they start, count and communicate, and what ends a job in which one of them is stuck."""
