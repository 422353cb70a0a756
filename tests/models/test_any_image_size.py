"""Convolutional networks that end in a mean over positions take images of any size."""

from __future__ import annotations

import pytest

from tflbt import models


@pytest.mark.parametrize("name", ["cifar_resnet", "wide_resnet", "mobilenet"])
def test_a_size_may_be_left_open(name):
    assert getattr(models, name)(input_shape=(None, None, 3)).input_shape == (None, None, None, 3)
