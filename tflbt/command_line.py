"""What the commands share: the flags that name a recipe, and errors in one line where a person can mend them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from tflbt.distributed.errors import another_rank_ended, frames, no_answer, one_line
from tflbt.distributed.launcher import rank_by_launcher

MOST_PLACES = 4  # where an error arose, in its line
# Errors that mean the user has something to change; anything else is a defect, and the line says where it arose.
EXPECTED = (ValueError, OSError, FloatingPointError, ImportError, flags.Error)
# An error that all ranks meet is told by the chief, whose end is the end of the job; others wait for that, while
# the chief may be writing a report. One that a rank meets alone is told by that rank after this time.
PATIENCE_SECONDS = 20.0
END_SECONDS = 10.0  # after an error, for threads that a recipe has started
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
    threading.excepthook = sys.unraisablehook = _say_beside
    for name in required:
        flags.mark_flag_as_required(name)
    with in_one_line():
        app.run(lambda _: main(), flags_parser=parse)


def parse(argv: list[str]) -> list[str]:
    """Reads the flags; the help text ends this process."""
    if _HELP & set(argv[1:]):
        print(f"{sys.modules['__main__'].__doc__}\n{flags.FLAGS.main_module_help()}")
        sys.exit(0)
    argv = flags.FLAGS.read_flags_from_files(argv, force_gnu=False)
    _PARSER.checked = check_recipe(argv)
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
        raise ValueError(f"unexpected argument {rest[1]!r}: everything is given as --FLAG=VALUE.")
    return rest


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Ends this process with one line and status 1 after any error, and with a line by SIGINT after Ctrl-C."""
    try:
        yield
    except EXPECTED as error:
        fail(error)
    except KeyboardInterrupt:
        sys.excepthook = _say_nothing
        if not rank_by_launcher():
            say(f"{_name()}: interrupted")
        raise
    except Exception as error:
        rank = rank_by_launcher()
        if no_answer(error):
            say(
                f"{_name()}: another rank does not answer (it is stopped, or its host cannot be reached), so rank "
                f"{rank} ends"
            )
        elif another_rank_ended(error):
            say(f"{_name()}: another rank has ended, so rank {rank} ends too")
        elif isinstance(error.__cause__, ImportError):  # launched as a rank, but without Horovod
            fail(error)
        else:
            fail(error, with_places(error))
        end()


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


def with_places(error: BaseException) -> str:
    """Kind and message of an error that nobody expected, and the user's and tflbt's places where it arose, last first.

    The whole traceback is shown with --verbosity=1.
    """
    own = [frame.place for frame in reversed(frames(error)) if frame.owner != "library"]
    places = ", ".join(own[:MOST_PLACES])
    return (
        f"{type(error).__name__}: {one_line(error)} ({places}; --verbosity=1 shows the traceback)"
    )


def fail(error: BaseException, text: str = "") -> None:
    """Prints an error as one line, its message unless a text is given, and ends this process with status 1."""
    logging.debug("where it was raised:", exc_info=error)  # shown with --verbosity=1
    rank = rank_by_launcher()  # Horovod may not have started, or be broken
    if rank:
        time.sleep(PATIENCE_SECONDS)
    who = f"rank {rank}: " if rank else ""
    say(f"{_name()}: error: {who}{text or one_line(error)}")
    end()


def end() -> None:
    """Ends this process with status 1, in `END_SECONDS` at the latest if a thread of the user's goes on."""
    threading.Thread(target=_end_at_last, daemon=True).start()
    sys.exit(1)


def _end_at_last() -> None:
    """Ends this process where its main thread has ended and another goes on; a caller who goes on is left alone."""
    threading.main_thread().join()
    time.sleep(END_SECONDS)
    os._exit(1)


def say(line: str) -> None:
    """Writes a line on the standard error output, even where a recipe has closed Python's."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        with contextlib.suppress(OSError):
            os.write(2, f"{line}\n".encode(errors="replace"))


def _say_nothing(*_: Any) -> None:
    """Python's last words after Ctrl-C: it then ends by the signal, as a shell's loop wants to see."""


def _say_beside(what: Any) -> None:
    """Says in one line what a thread, or an object at its end, raised."""
    if what.exc_value is not None and not isinstance(what.exc_value, SystemExit):
        say(f"{_name()}: beside the command: {with_places(what.exc_value)}")


def _name() -> str:
    """The command's name, such as "tflbt.train"."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else os.path.basename(sys.argv[0] if sys.argv else "tflbt")
