"""What a recipe in `hparams/` says, and what the commands make of it."""

from tflbt.recipes.config import (
    TABLE_ROWS,
    default_config,
    lars,
    load,
    require_key,
    start,
)
from tflbt.recipes.sections import section
from tflbt.recipes.user_file import read_function

__all__ = [
    "TABLE_ROWS", "default_config", "lars", "load", "read_function", "require_key", "section", "start",
]  # fmt: skip
