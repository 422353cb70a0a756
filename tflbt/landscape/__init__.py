"""The command that draws landscapes of runs."""
