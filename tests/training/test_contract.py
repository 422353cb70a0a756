"""Every form of model with every form of data trains as plain Keras, on one rank; contract.py has the table."""

from __future__ import annotations

import pytest

from tests.training.contract import check, pairs


@pytest.mark.parametrize(("model", "data"), pairs(ranks=1))
def test_every_model_with_all_data_trains_like_keras(model, data):
    check(model, data)
