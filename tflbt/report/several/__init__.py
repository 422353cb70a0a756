"""Figures of several runs together: curves, sweeps, ladders."""
