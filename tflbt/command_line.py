"""What the commands share: the flags that name a recipe, and errors in one line where a person can mend them."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from tflbt.distributed.errors import another_rank_ended, no_answer, one_line
from tflbt.distributed.launcher import rank_by_launcher

# Errors that mean the user has something to change; anything else is a defect and shows its traceback.
EXPECTED = (ValueError, OSError, FloatingPointError, ImportError, flags.Error)
# An error that all ranks meet is told by the chief, whose end is the end of the job; others wait for that, while
# the chief may be writing a report. One that a rank meets alone is told by that rank after this time.
PATIENCE_SECONDS = 20.0
_HELP = {"--help", "-help", "-h", "--helpshort", "-helpshort"}

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "A recipe and variant, hparams/FILE.py:VARIANT: the Python file is run. Or a search's best.json, which is only "
    "read. --config.KEY=VALUE changes one of its values.",
    lock_config=True,
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The directory of the run or the search; a new one, or the one to resume."
)
RESUME = flags.DEFINE_bool("resume", False, "Go on with what --workdir holds, where its files end.")
flags.register_validator(
    "workdir",
    lambda path: path is None or bool(path.strip()),
    "it is empty: name a directory ('.' is the one where you are)",
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets lie (digits need none).")


class RecipeParser(flags.ArgumentParser):
    """Reads a recipe; sections get the keys of the classes that the command line names, before keys are looked at."""

    def __init__(self, argv: Sequence[str] | None = None) -> None:
        """Takes the command line; default: that of this process."""
        self.argv = argv
        self.checked: Any = None  # the recipe that `check_recipe` has read

    def parse(self, argument: str) -> Any:
        """Returns the recipe's configuration."""
        from tflbt import recipes

        config, self.checked = self.checked, None
        if config is None:
            argv = flags.FLAGS.read_flags_from_files(self.argv or sys.argv, force_gnu=False)
            config = set_names(recipes.load(argument), argv)
        return config

    def flag_type(self) -> str:
        """What the help text calls it."""
        return "config object"


_PARSER = RecipeParser()
flags.FLAGS["config"].parser = _PARSER


def run(main: Callable[[], None], required: Sequence[str] = ()) -> None:
    """Runs a command, some of whose flags are required: reads the flags and calls `main`.

    An error that a person can mend ends the process with one line and status 1. `--help` shows the docstring of the
    command's module and its flags.
    """

    def guarded(_: list[str]) -> None:
        try:
            main()
        except EXPECTED as error:
            fail(error)
        except Exception as error:
            rank = rank_by_launcher()
            if no_answer(error):
                sys.exit(
                    f"{_name()}: another rank does not answer (it is stopped, or its host cannot be reached), so rank "
                    f"{rank} ends"
                )
            if another_rank_ended(error):
                sys.exit(f"{_name()}: another rank has ended, so rank {rank} ends too")
            if isinstance(error.__cause__, ImportError):  # launched as a rank, but without Horovod
                fail(error)
            raise

    for name in required:
        flags.mark_flag_as_required(name)
    app.run(guarded, flags_parser=parse)


def parse(argv: list[str]) -> list[str]:
    """Reads the flags, or ends this process: status 0 after the help text, 1 after an error."""
    if _HELP & set(argv[1:]):
        print(f"{sys.modules['__main__'].__doc__}\n{flags.FLAGS.main_module_help()}")
        sys.exit(0)
    try:
        argv = flags.FLAGS.read_flags_from_files(argv, force_gnu=False)
        _PARSER.checked = check_recipe(argv)
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise ValueError(
                f"unexpected argument {rest[1]!r}: everything is given as --FLAG=VALUE."
            )
    except EXPECTED as error:
        fail(error)
    return rest


def check_recipe(argv: Sequence[str]) -> Any:
    """Reads the recipe of `--config`, None without it, with the names of sections that the command line gives.

    The flag's own parser would tell errors, such as an unknown variant or key, with a traceback.
    """
    from tflbt import recipes

    words = "\n".join(argv[1:])
    found = re.search(r"^--?config[=\n](.*)$", words, re.MULTILINE)
    if found is None:
        return None
    config = set_names(recipes.load(found[1]), argv)
    for key in re.findall(r"^--?(?:no)?config\.([^=\n]*)", words, re.MULTILINE):
        recipes.require_key(config, key)
    return config


def set_names(config: Any, argv: Sequence[str]) -> Any:
    """Sets the names of sections that the command line gives, as --config.schedule.name=cosine."""
    words = "\n".join(argv[1:])
    for section, name in re.findall(r"^--?config\.([\w.]+)\.name[=\n](.*)$", words, re.MULTILINE):
        config.update_from_flattened_dict({f"{section}.name": name})
    return config


def fail(error: Exception) -> None:
    """Prints an error as one line and ends this process with status 1."""
    logging.debug("where it was raised:", exc_info=error)  # shown with --verbosity=1
    rank = rank_by_launcher()  # Horovod may not have started, or be broken
    if rank:
        time.sleep(PATIENCE_SECONDS)
    who = f"rank {rank}: " if rank else ""
    print(f"{_name()}: error: {who}{one_line(error)}", file=sys.stderr, flush=True)
    sys.exit(1)


def _name() -> str:
    """The command's name, such as "tflbt.train"."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else os.path.basename(sys.argv[0])
