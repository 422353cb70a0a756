"""Forms of models and of data train on two ranks as plain Keras in one process; training/contract.py has the table."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ranks.twins import K, close, identical_on_ranks, large, plain
from tests.training.contract import check, pairs


@pytest.mark.parametrize(("model", "data"), pairs(ranks=2))
def test_two_ranks_train_every_model_with_all_data_like_keras(model, data, rank):
    identical_on_ranks(check(model, data, rank, ranks=2), "weights")


def of_words(vocabulary):
    """A model whose first layer has a vocabulary, which Keras counts among its weights."""
    K.utils.set_random_seed(1)
    words = K.layers.TextVectorization(output_sequence_length=2)
    words.adapt(vocabulary)
    inputs = K.Input([1], dtype="string")
    hidden = K.layers.Flatten()(K.layers.Embedding(8, 3)(words(inputs)))
    return K.Model(inputs, K.layers.Dense(1)(hidden))


def test_a_vocabulary_is_the_same_on_all_ranks(rank):
    texts = np.array([["a b"], ["c"], ["b"], ["a d"]] * 4)
    data = texts, np.arange(16.0) / 16
    trained = [
        train(K.optimizers.SGD(0.1), of_words(texts), data=data)[0] for train in (large, plain)
    ]
    close(*([v.numpy() for v in model.trainable_variables] for model in trained))
    with pytest.raises(ValueError, match="disagree about the vocabulary of layer"):
        large(K.optimizers.SGD(0.1), of_words(texts[: 16 - 15 * rank]), data=data)
