"""Callbacks by which a job grows and shrinks with its batch."""
