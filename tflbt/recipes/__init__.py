"""What a recipe in `hparams/` says, and what the commands make of it."""

from tflbt.recipes.config import (
    TABLE_ROWS,
    default_config,
    load,
    read_function,
    require_key,
    start,
)

__all__ = ["TABLE_ROWS", "default_config", "load", "read_function", "require_key", "start"]
