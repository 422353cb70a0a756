"""The flags of every command that takes a recipe: which, where to, whether to go on, and where the data lie."""

from __future__ import annotations

from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "A recipe and variant, hparams/FILE.py:VARIANT; --config.KEY=VALUE changes one of its values.",
    lock_config=True,
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The directory of the run or the search; a new one, or the one to resume."
)
RESUME = flags.DEFINE_bool("resume", False, "Go on with what --workdir holds, where its files end.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets lie (digits need none).")
