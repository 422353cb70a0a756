"""Ends and saves a `fit` between two updates of an epoch, and goes on from there."""
