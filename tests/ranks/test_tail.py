"""Two ranks end their epochs alike, and an update has the samples that it has on one rank."""

from __future__ import annotations

import pytest

from tests.ranks.twins import alone
from tests.updates_seen import K, Updates, model_of, rows
from tflbt.control.tail import TAILS

N = 10


@pytest.mark.parametrize("tail", TAILS)
def test_updates_do_not_depend_on_the_number_of_ranks(tail):
    found = []
    for optimizer in (K.optimizers.SGD(1.0), alone(K.optimizers.SGD(1.0))):
        model, updates = model_of(N, optimizer), Updates()
        for _ in range(2):  # the second draws what no other has drawn
            model.fit(
                *rows(N), batch_size=4, sub_batch_size=1, epochs=2, seed=3, tail=tail, verbose=0,
                callbacks=[updates],
            )  # fmt: skip
        found.append(updates.samples)
    assert found[0] == found[1]
    assert found[0][0] != found[0][2]
