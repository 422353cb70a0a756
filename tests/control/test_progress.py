"""Which randomness a fit draws, and what is carried over into it."""

from __future__ import annotations

import pytest

from tflbt.control.progress import Progress


@pytest.mark.parametrize(
    ("drawn", "epoch", "draw"), [(0, 0, 0), (0, 5, 5), (3, 0, 3), (3, 3, 3), (1, 5, 5), (6, 3, 6)]
)
def test_a_fit_begins_with_the_later_of_its_epoch_and_what_was_drawn(drawn, epoch, draw):
    assert Progress(drawn=drawn).first_draw(epoch) == draw


@pytest.mark.parametrize(
    ("epoch", "carried"),
    [(0, 0), (3, 7), (2, 4), (4, 8)],  # 20 % 16 = 4, 40 % 16 = 8
)
def test_what_is_carried_over_is_what_was_left_or_what_a_constant_batch_leaves(epoch, carried):
    progress = Progress(drawn=3, finished=3, carried=7)
    assert progress.carried_into(epoch, samples=10, batch_size=16) == carried
