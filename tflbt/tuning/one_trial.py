"""Runs one trial on all its ranks, so that an error on one of them ends the trial on all, and nothing else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.distributed import comm
from tflbt.distributed.errors import another_rank_failed, one_line
from tflbt.tuning.left_graphs import free_left_graphs
from tflbt.tuning.trial import COMPLETED, DIVERGED, FAILED, STOPPED, Outcome
from tflbt.tuning.trial_callbacks import AnotherRankFailedError, WatchTrial

_LONGEST = 500  # characters of an error's message


def run_trial(
    train: Callable[[], Any], watch: WatchTrial, exchange: Callable[[Any], Sequence[Any]]
) -> Outcome:
    """Trains and returns how the trial ended; every rank of the trial must call it, and gets the same answer.

    An error that `train` raises ends the trial, not the search: as diverged if a rank raised FloatingPointError, else
    as failed. `exchange` gives every rank the endings of all ranks, in their order, whatever the others are doing.
    """
    start = time.perf_counter()
    status, message = _ending_of(train, watch)
    watch.model = None
    status, message = _agreed(exchange((status, message)))
    return Outcome(status, tuple(watch.history), time.perf_counter() - start, message)


def free_trials() -> None:
    """Releases what trials that have ended leave, which takes seconds: when their results are safe."""
    tf.keras.backend.clear_session()
    free_left_graphs()


@contextlib.contextmanager
def expecting_traces() -> Iterator[None]:
    """Keeps TensorFlow from warning that functions are traced again: every trial has its own model."""

    def other(record: Any) -> bool:
        return "tf.function retracing" not in record.getMessage()

    tf.get_logger().addFilter(other)
    try:
        yield
    finally:
        tf.get_logger().removeFilter(other)


def exchange_over_all_ranks(ending: Any) -> list[Any]:
    """Waits for all ranks, then gathers their endings."""
    comm.join()
    return comm.gather_objects(ending, "tflbt.tuning.endings")


def _ending_of(train: Callable[[], Any], watch: WatchTrial) -> tuple[str, str]:
    """Returns status and message of this rank's training."""
    try:
        train()
    except FloatingPointError as error:
        return DIVERGED, one_line(error)[:_LONGEST]
    except Exception as error:  # noqa: BLE001  whatever a trial raises, the search goes on
        if not isinstance(error, AnotherRankFailedError):
            logging.debug("the trial raised:", exc_info=error)  # shown with --verbosity=1
        return FAILED, f"{type(error).__name__}: {one_line(error)[:_LONGEST]}"
    return (STOPPED if watch.hopeless else COMPLETED), ""


def _agreed(endings: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Returns the worst ending of all ranks, by the first rank that failed by itself and not because of another."""
    ranks = range(len(endings))
    failed = [rank for rank in ranks if endings[rank][0] == FAILED]
    own = [rank for rank in failed if not another_rank_failed(endings[rank][1])]
    diverged = [rank for rank in ranks if endings[rank][0] == DIVERGED]
    worst = own or diverged or failed
    if not worst:
        return endings[0][0], ""
    status, message = endings[worst[0]]
    return status, message if len(worst) == len(endings) else f"rank {worst[0]}: {message}"
