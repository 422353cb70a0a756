"""Perplexity is the exponential of the mean cross-entropy, over several batches too."""

from __future__ import annotations

import numpy as np
import pytest

from tflbt.recipes.perplexity import Perplexity


def test_it_is_the_exponential_of_the_mean_over_all_words():
    rng, metric = np.random.default_rng(0), Perplexity()
    losses = []
    for samples in (3, 1):
        logits, labels = rng.normal(size=(samples, 4, 6)), rng.integers(0, 6, (samples, 4))
        metric.update_state(labels, logits)
        chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        losses.extend(-np.log(np.take_along_axis(chances, labels[..., None], -1)).ravel())
    assert float(metric.result()) == pytest.approx(np.exp(np.mean(losses)), rel=1e-5)
    again = Perplexity.from_config(metric.get_config())
    again.update_state([1], [[0.0, 0.0, 0.0]])
    assert float(again.result()) == pytest.approx(3.0)
