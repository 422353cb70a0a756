"""Tests of the rule that says how many ranks a batch wants."""

from __future__ import annotations

import pytest

from tflbt.control.ranks import ranks_for


@pytest.mark.parametrize(
    ("batch", "options", "wanted"),
    [
        (255, {}, 1),
        (256, {}, 1),
        (511, {}, 1),
        (512, {}, 2),
        (16384, {}, 8),  # the most there are
        (64, {"min_ranks": 4}, 4),
        (64, {"samples_per_rank": 8, "max_ranks": 5}, 4),  # 5 does not divide
        (7, {"samples_per_rank": 1}, 7),
        (7, {"samples_per_rank": 1, "max_ranks": 6, "min_ranks": 2}, None),
        (1024, {"step": lambda ranks: 512 * ranks}, 2),
        (1024, {"step": lambda ranks: 4096 * ranks}, None),
    ],
)
def test_the_batch_says_how_many_and_must_divide(batch, options, wanted):
    assert ranks_for(batch, **{"max_ranks": 8, **options}) == wanted


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_ranks": 0}, "max_ranks=0"),
        ({"max_ranks": 1, "min_ranks": 2}, "max_ranks=1"),
        ({"max_ranks": 1, "min_ranks": True}, "min_ranks=True"),
        ({"max_ranks": 1, "samples_per_rank": 0}, "samples_per_rank=0"),
        ({"max_ranks": 1, "batch_size": 0}, "batch_size=0"),
    ],
)
def test_a_wrong_argument_is_named(options, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        ranks_for(**{"batch_size": 8, **options})
