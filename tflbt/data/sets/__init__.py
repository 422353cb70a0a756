"""Data sets: one file each that reads it from its original files."""
