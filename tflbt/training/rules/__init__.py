"""Techniques that change an update: which samples it sees, and which of them count."""
