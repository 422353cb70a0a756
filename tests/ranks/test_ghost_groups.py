"""Batch normalisation over sub-batches of two ranks: as one process trains with sub-batches twice as large."""

from __future__ import annotations

import pytest

from tests.ranks.twins import K, X, Y, alone, check, large, network
from tflbt.distributed import comm
from tflbt.models import prepared
from tflbt.training.ranks.ghost_groups import ranks_of_ghost


def normalised(ghost=4):
    return prepared(network(norm=True), ghost_batch_size=ghost)


def test_a_ghost_of_two_ranks():
    """27 samples an epoch: the last ghost has 2 of one rank and 1 of the other. Then all epochs without it."""
    for count, tail in ((27, "update"), (26, "drop")):
        usual = {"data": (X[:count], Y[:count]), "tail": tail, "shuffle": True}
        together = large(K.optimizers.SGD(0.1), normalised(), sub_batch_size=2, **usual)
        apart = large(alone(K.optimizers.SGD(0.1)), normalised(), sub_batch_size=4, **usual)
        check(together, apart)


def test_what_ghosts_of_ranks_cannot_have_is_refused():
    with pytest.raises(ValueError, match="the last 2 of the epoch's 30 samples are too few for 2"):
        large(K.optimizers.SGD(0.1), normalised())
    with pytest.raises(ValueError, match=r"ghost_batch_size=6 .* come to: use 2, 4, or a divisor"):
        large(K.optimizers.SGD(0.1), normalised(6))
    assert ranks_of_ghost(64, 16, 8) == 4
    assert comm.neighbours(2) is comm.EVERYONE
