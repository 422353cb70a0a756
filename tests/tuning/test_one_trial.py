"""A trial ends alike on all its ranks, by what happened on any of them."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf

from tflbt.tuning.one_trial import expecting_traces, run_trial
from tflbt.tuning.trial import Outcome, Trial
from tflbt.tuning.trial_callbacks import AnotherRankFailedError, WatchTrial

pytestmark = pytest.mark.usefixtures("settled_before")


def end(error=None, hopeless=False, others=()):
    """The outcome of a rank that raises an error, or not, while others end as they say."""
    watch = WatchTrial(Trial(1, {}), "loss")
    watch.history, watch.hopeless = [0.5], hopeless

    def train():
        if error is not None:
            raise error

    outcome = run_trial(train, watch, lambda ending: [ending, *others])
    assert outcome.history == (0.5,) and outcome.seconds >= 0 and watch.model is None
    return outcome.status, outcome.message


@pytest.mark.parametrize(
    ("error", "hopeless", "others", "expected"),
    [
        (None, False, (), ("completed", "")),
        (None, True, (), ("stopped", "")),
        (FloatingPointError("the loss is nan"), False, (), ("diverged", "the loss is nan")),
        (MemoryError(), False, (), ("failed", "MemoryError: MemoryError")),
        (OSError(28, "no\nspace"), False, (), ("failed", "OSError: no space")),
        (None, False, (("failed", "OSError: no"),), ("failed", "rank 1: OSError: no")),
        (
            AnotherRankFailedError("another rank has failed"),
            False,
            (("diverged", "nan"), ("failed", "not supported with Join")),
            ("diverged", "rank 1: nan"),
        ),
        (
            AnotherRankFailedError("another rank has failed"),
            False,
            (("diverged", "nan"), ("failed", "ValueError: its own")),
            ("failed", "rank 2: ValueError: its own"),
        ),
        (ValueError("x"), False, (("failed", "ValueError: x"),), ("failed", "ValueError: x")),
    ],
)
def test_the_ending_of_all_ranks(error, hopeless, others, expected):
    assert end(error, hopeless, others) == expected


def test_a_long_message_is_cut():
    assert len(end(ValueError("x" * 9999))[1]) == len("ValueError: ") + 500


def test_what_ends_the_process_ends_the_search():
    with pytest.raises(KeyboardInterrupt):
        end(KeyboardInterrupt())


def test_the_warning_of_retraces_is_silent_only_inside(caplog):
    def warn():
        tf.get_logger().warning("5 calls triggered tf.function retracing")
        return len(caplog.records)

    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        with expecting_traces():
            assert warn() == 0
        assert warn() >= 1
    finally:
        logger.removeHandler(caplog.handler)


def test_an_outcome_without_a_finite_objective_has_none(invented):
    study = invented.study()
    study.next()
    study.end(1, Outcome("diverged", (math.nan,)))
    assert study.value(1) is None and study.best() is None
