"""Callbacks that measure at the ends of epochs and change nothing: margins, distance from the start."""
