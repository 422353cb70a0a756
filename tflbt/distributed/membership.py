"""Which rank this is and of how many, where ranks come and go: variables, so that a graph traced once stays right.

Without the elastic launcher nothing here is used: the number of ranks is a constant in every graph.
"""

from __future__ import annotations

import os

import tensorflow as tf

from tflbt.distributed import devices

VARIABLE = "TFLBT_ELASTIC"
# "i/n": this process is the i-th of at most n on its host, whichever rank it has.
SEAT_VARIABLE = "TFLBT_ELASTIC_SEAT"

_now = (0, 1)  # rank and ranks
_variable: tf.Variable | None = None
_seated = False


def elastic() -> bool:
    """Whether ranks may come and go: the elastic launcher has started this process."""
    return os.environ.get(VARIABLE) == "1"


def now() -> tuple[int, int]:
    """This process's number among the ranks, and how many there are."""
    return _now


def update(rank: int, ranks: int) -> None:
    """Notes that this is now rank `rank` of `ranks`, for graphs that are traced already too."""
    global _now
    _now = rank, ranks
    _pair().assign(_now)


def rank_in_graph() -> tf.Tensor:
    """This process's number among the ranks, an int32 scalar that is read when the graph runs."""
    return _pair().read_value()[0]


def ranks_in_graph() -> tf.Tensor:
    """How many ranks there are, likewise."""
    return _pair().read_value()[1]


def alone() -> tf.Tensor:
    """Whether this is the only rank, likewise."""
    return tf.equal(ranks_in_graph(), 1)


def _pair() -> tf.Variable:
    """The rank and the number of ranks, int32 `[2]`, in the host's memory."""
    global _variable
    if _variable is None:
        with tf.init_scope(), tf.device("CPU:0"):
            _variable = tf.Variable(_now, trainable=False, dtype=tf.int32, name="tflbt_membership")
    return _variable


def seat() -> tuple[int, int] | None:
    """This process's number on its host, from 0, and how many may be there; None without the elastic launcher."""
    text = os.environ.get(SEAT_VARIABLE)
    if not elastic() or text is None:
        return None
    place, _, places = text.partition("/")
    return int(place), int(places)


def take_seat() -> None:
    """Pins the GPU of this process's seat and limits it to its share of the cores, once."""
    global _seated
    found = seat()
    if found is not None and not _seated:
        _seated = True
        devices.configure(*found)
