"""KerasTuner searches, each trial trained by all ranks."""
