"""Tests of `BatchPlan`: how a global batch is split, and what is said of one that does not divide."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tflbt.control import BatchPlan


@pytest.mark.parametrize("batch_size", [1, 8, 48, 8192])
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("sub_batch_size", [None, 1, 4, 128])
def test_a_plan_multiplies_to_the_batch_or_is_refused(batch_size, ranks, sub_batch_size):
    step = ranks * (sub_batch_size or 1)
    if batch_size % step:
        with pytest.raises(ValueError, match=f"batch_size={batch_size} is not a multiple"):
            BatchPlan(batch_size, sub_batch_size, ranks)
        return
    plan = BatchPlan(batch_size, sub_batch_size, ranks)
    assert plan.ranks * plan.sub_batches * plan.samples_a_rank_computes == batch_size
    assert plan.sub_batch_size == (sub_batch_size or batch_size // ranks)


@pytest.mark.parametrize(
    ("batch_size", "sub_batch_size", "ranks", "nearest"),
    [
        (1000, 256, 2, "use 512 or 1024"),
        (100, 64, 2, "use 128"),
        (7, None, 2, "use 6 or 8"),
        (1, None, 2, "use 2"),
    ],
)
def test_the_nearest_sizes_that_divide_are_named(batch_size, sub_batch_size, ranks, nearest):
    with pytest.raises(ValueError, match=f"{nearest}\\.$"):
        BatchPlan(batch_size, sub_batch_size, ranks)


@pytest.mark.parametrize("value", [0, -8, 2.5, True, math.nan, math.inf, "many", "8"])
@pytest.mark.parametrize("name", ["batch_size", "sub_batch_size", "ranks"])
def test_a_size_that_is_no_positive_integer_is_named(name, value):
    sizes = {"batch_size": 8, "sub_batch_size": 4, "ranks": 2, name: value}
    with pytest.raises(ValueError, match=f"^{name}=.* must be a whole number, at least 1"):
        BatchPlan(**sizes)


def test_whole_numbers_of_other_types_become_integers():
    plan = BatchPlan(np.int64(8), 4.0, np.int32(2))
    assert [type(size) for size in dataclasses.astuple(plan)] == [int, int, int]


def test_another_batch_keeps_ranks_and_sub_batches_size():
    plan = BatchPlan(64, 8, 2).with_batch_size(128)
    assert (plan.batch_size, plan.sub_batch_size, plan.ranks, plan.sub_batches) == (128, 8, 2, 8)
    with pytest.raises(ValueError, match="use 64 or 80"):
        plan.with_batch_size(72)


def test_another_batch_keeps_the_share_that_was_taken_at_once():
    """A sub-batch size that was left out is fixed by the first batch: memory does not grow with the batch."""
    assert BatchPlan(64, None, 2).with_batch_size(128).sub_batches == 2
