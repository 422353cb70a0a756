"""A program with the flags of tflbt.train: prints some of the configuration that they make."""

from __future__ import annotations

from collections.abc import Sequence

from absl import app

from tflbt import command_line, train  # noqa: F401 - train defines the flags


def main(argv: Sequence[str]) -> None:
    """Prints it."""
    config = command_line.CONFIG.value
    optimizer = config.optimizer
    print(config.name, config.is_locked, optimizer.inner.name, optimizer.global_clipnorm)


if __name__ == "__main__":
    app.run(main)
