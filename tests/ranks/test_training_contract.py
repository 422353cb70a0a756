"""Forms of models and of data train on two ranks as plain Keras in one process; training/contract.py has the table."""

from __future__ import annotations

import pytest

from tests.ranks.twins import identical_on_ranks
from tests.training.contract import check, pairs


@pytest.mark.parametrize(("model", "data"), pairs(ranks=2))
def test_two_ranks_train_every_model_with_all_data_like_keras(model, data, rank):
    identical_on_ranks(check(model, data, rank, ranks=2), "weights")
