"""Runs one trial on all its ranks, so that what goes wrong on one of them ends it on all, and nothing else."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.distributed import comm
from tflbt.tuning.left_graphs import free_left_graphs
from tflbt.tuning.trial import COMPLETED, DIVERGED, FAILED, STOPPED, Outcome
from tflbt.tuning.trial_callbacks import AnotherRankFailedError, WatchTrial

# What Horovod says on ranks that want to gather or broadcast when another has failed and waits in `comm.join`.
_ECHO = re.compile(r"not supported with Join|another rank has failed")


def run_trial(
    train: Callable[[], Any],
    watch: WatchTrial,
    exchange: Callable[[Any], Sequence[Any]],
) -> Outcome:
    """Trains and says how it ended; every rank of the trial must call it, and gets the same answer.

    Args:
        train: Trains with `watch` among its callbacks. What it raises is the trial's end, not the search's.
        watch: What saw the objective.
        exchange: Gives every rank of the trial all ranks' words, in the order of ranks, whatever the others are
            doing: `exchange_over_all_ranks`, or a group's own.

    Returns:
        The outcome: failed if a rank raised, diverged if one raised FloatingPointError, else completed or stopped.
    """
    began = time.perf_counter()
    status, message = _ending_of(train, watch)
    _forget(watch)
    words = exchange((status, message))
    status, message = _agreed(words)
    seconds = time.perf_counter() - began
    return Outcome(status, tuple(watch.history), seconds, message)


@contextlib.contextmanager
def expecting_traces() -> Iterator[None]:
    """Keeps TensorFlow from warning that functions are traced again: every trial has a model of its own."""

    def other(record: Any) -> bool:
        return "tf.function retracing" not in record.getMessage()

    tf.get_logger().addFilter(other)
    try:
        yield
    finally:
        tf.get_logger().removeFilter(other)


def exchange_over_all_ranks(word: Any) -> list[Any]:
    """Meets all ranks, then gathers their words."""
    comm.join()
    return comm.gather_objects(word, "tflbt.tuning.words")


def _ending_of(train: Callable[[], Any], watch: WatchTrial) -> tuple[str, str]:
    try:
        train()
    except FloatingPointError as error:
        return DIVERGED, _one_line(error)
    except Exception as error:  # noqa: BLE001  whatever a trial raises, the search goes on
        if not isinstance(error, AnotherRankFailedError):
            logging.debug("what the trial raised:", exc_info=error)  # shown with --verbosity=1
        return FAILED, f"{type(error).__name__}: {_one_line(error)}"
    return (STOPPED if watch.hopeless else COMPLETED), ""


def _agreed(words: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The worst ending of all ranks, told by the first that was not only disturbed by another's."""
    told = [(status, rank, message) for rank, (status, message) in enumerate(words)]
    failed = [one for one in told if one[0] == FAILED]
    own = [one for one in failed if not _ECHO.search(one[2])]
    diverged = [one for one in told if one[0] == DIVERGED]
    worst = own or diverged or failed
    if not worst:
        return words[0][0], ""
    status, rank, message = worst[0]
    return status, message if len(worst) == len(words) else f"rank {rank}: {message}"


def _one_line(error: Exception) -> str:
    text = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\]", "", str(error))
    return " ".join(text.split())[:500]


def _forget(watch: WatchTrial) -> None:
    """Lets go of the trial's graphs, data sets and variables."""
    watch.model = None
    tf.keras.backend.clear_session()
    free_left_graphs()
