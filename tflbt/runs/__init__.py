"""What is kept of a run: its directory, configuration, metrics and events."""
