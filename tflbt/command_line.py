"""What the commands share: flags are read, and what a person can mend is told in one line."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from tflbt import recipes
from tflbt.distributed.errors import another_rank_ended, one_line
from tflbt.distributed.launcher import rank_by_launcher

# Errors that mean the user has something to change; anything else is a defect and shows its traceback.
EXPECTED = (ValueError, OSError, FloatingPointError, ImportError, flags.Error)
# An error that all ranks meet is told by the chief, whose end is the end of the job; others wait for that, while
# the chief may be writing a report. One that a rank meets alone is told by that rank after this time.
PATIENCE_SECONDS = 20.0
_HELP = {"--help", "-help", "-h", "--helpshort", "-helpshort"}


def run(main: Callable[[], None], required: Sequence[str] = ()) -> None:
    """Runs a command: reads its flags, calls `main`, and ends with status 1 and one line on an error.

    `--help` shows the docstring of the command's module and its flags.

    Args:
        main: What the command does, once the flags are read.
        required: Flags that must be given.
    """

    def guarded(_: list[str]) -> None:
        try:
            main()
        except EXPECTED as error:
            fail(error)
        except Exception as error:
            if another_rank_ended(error):
                sys.exit(
                    f"{_name()}: another rank has ended, so rank {rank_by_launcher()} ends too"
                )
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
        check_recipe(argv)
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise ValueError(
                f"unexpected argument {rest[1]!r}: everything is given as --FLAG=VALUE."
            )
    except EXPECTED as error:
        fail(error)
    return rest


def check_recipe(argv: Sequence[str]) -> None:
    """Raises if `--config` names no recipe, or `--config.KEY` no key of it.

    The flag's own parser would do so with a traceback.

    Raises:
        ValueError: If the variant or a key is unknown; the message lists those that there are.
        OSError: If the recipe cannot be read.

    Example:
        >>> check_recipe(["train", "--config=hparams/nothing.py"])
        Traceback (most recent call last):
        ...
        FileNotFoundError: ... the recipe cannot be read: 'hparams/nothing.py'
    """
    words = "\n".join(argv[1:])
    found = re.search(r"^--?config[=\n](.*)$", words, re.MULTILINE)
    if found is None:
        return
    config = recipes.load(found[1])
    for key in re.findall(r"^--?(?:no)?config\.([^=\n]*)", words, re.MULTILINE):
        recipes.require_key(config, key)


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
