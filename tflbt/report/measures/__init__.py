"""The figures of what rules and monitors measure while a run trains."""
