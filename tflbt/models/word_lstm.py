"""The word-level LSTM language model: Merity et al. (2017), "AWD-LSTM", with all of its dropout.

Words become vectors, these pass through layers of LSTM, and every position gives logits of the word that follows it.
Five kinds of dropout act in training. Two are "locked", one mask for a sample at all its positions, another for the
next sample: of the vectors that enter the first layer and of what leaves each. So equal samples in a batch differ,
which is batch augmentation without augmentations (`batch-augmentation.txt`, section 3.3). Two have one mask a
sub-batch: whole words of the vocabulary, and single weights from state to state. Instances of a sample get different
ones of these only in different sub-batches.

Sizes and rates are those of github.com/salesforce/awd-lstm-lm for Penn Treebank (`--dropouti 0.4 --dropouth 0.25`),
which `batch-augmentation.txt` used. It differs in what goes in: there a stretch of text begins with the state in
which the one before ended, and has a random length; here with zeros, see `tflbt.data.sets.text_data`.
"""

from __future__ import annotations

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.prepared import prepares
from tflbt.models.text_layers import ActivationPenalty, TiedEmbedding, WeightDropLSTM, WordDropout

_LAYERS = tf.keras.layers
_EMBEDDING_RANGE = 0.1  # the authors' "initrange"


@prepares("weight_decay")
def word_lstm(
    *,
    input_shape: tuple[int] = (70,),
    classes: int = 10_000,
    embedding: int = 400,
    units: int = 1150,
    layers: int = 3,
    dropout_embedding: float = 0.1,
    dropout_input: float = 0.4,
    dropout_hidden: float = 0.25,
    dropout_output: float = 0.4,
    dropout_recurrent: float = 0.5,
    activation_penalty: float = 2.0,
    slowness_penalty: float = 1.0,
    tie_weights: bool = True,
) -> tf.keras.Model:
    """Builds the language model.

    24,210,800 parameters by default. The authors' code counts 24,221,600 (the paper: 24M): PyTorch's LSTM has two
    biases where this has one, `4 * (1150 + 1150 + 400) = 10,800` numbers more. It is their sum that acts, so plain
    SGD moves that sum twice as fast as this bias.

    Args:
        input_shape: One number, of words in a sample, at least 1.
        classes: Words in the vocabulary, and logits at each position.
        embedding: Width of a word's vector.
        units: Width of the LSTM layers; of the last one where the output is tied: `embedding`.
        layers: Number of LSTM layers, at least 1.
        dropout_embedding: Share of the vocabulary's words dropped, each wherever it stands in the sub-batch.
        dropout_input: Share of the vectors' features dropped, locked; all rates are 0 <= rate < 1.
        dropout_hidden: Likewise, between the layers.
        dropout_output: Likewise, after the last layer.
        dropout_recurrent: Share of the weights from state to state dropped, by one mask for the sub-batch and all
            positions ("weight drop", DropConnect).
        activation_penalty: Alpha >= 0 of a loss `alpha * mean(h^2)`, added in training; h is the last layer's
            output after its dropout.
        slowness_penalty: Beta >= 0 of `beta * mean((h_t+1 - h_t)^2)`, likewise, before its dropout. So the loss in
            training is more than the cross-entropy; that of evaluation is not, and its `exp` is the perplexity.
        tie_weights: Whether words' vectors are also the weights of their logits.

    Returns:
        A functional model from int32 words `[n, T]` to logits `[n, T, classes]`, float32 under mixed precision
        too.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> from tflbt.models.word_lstm import word_lstm
        >>> word_lstm(input_shape=(5,), classes=20, embedding=3, units=4).output_shape
        (None, 5, 20)
    """
    if len(input_shape) != 1 or input_shape[0] < 1:
        raise ValueError(f"input_shape={input_shape!r} must be one number of words, at least 1.")
    checks.whole("layers", layers, at_least=1)
    for name, rate in {
        "dropout_embedding": dropout_embedding,
        "dropout_input": dropout_input,
        "dropout_hidden": dropout_hidden,
        "dropout_output": dropout_output,
        "dropout_recurrent": dropout_recurrent,
    }.items():
        checks.number(name, rate, at_least=0, less_than=1)
    checks.number("activation_penalty", activation_penalty, at_least=0)
    checks.number("slowness_penalty", slowness_penalty, at_least=0)
    words = tf.keras.Input(tuple(input_shape), dtype="int32", name="words")
    vectors = (TiedEmbedding if tie_weights else _LAYERS.Embedding)(
        classes,
        embedding,
        embeddings_initializer=_uniform(_EMBEDDING_RANGE),
        dtype="float32",  # for the logits'
        name="embedding",
    )
    x = vectors(words)
    if dropout_embedding:
        x = WordDropout(dropout_embedding, classes, name="embedding_dropout")([x, words])
    x = _locked(x, dropout_input, "input_dropout")
    for layer in range(1, layers):
        x = _lstm(units, dropout_recurrent, f"lstm{layer}")(x)
        x = _locked(x, dropout_hidden, f"hidden_dropout{layer}")
    width = embedding if tie_weights else units
    h = _lstm(width, dropout_recurrent, f"lstm{layers}")(x)
    x = _locked(h, dropout_output, "output_dropout")
    if activation_penalty or slowness_penalty:
        x = ActivationPenalty(activation_penalty, slowness_penalty, name="penalty")([h, x])
    if tie_weights:
        return tf.keras.Model(words, vectors(x, reverse=True), name="word_lstm")
    logits = parts.logits(x, classes, kernel_initializer=_uniform(_EMBEDDING_RANGE))
    return tf.keras.Model(words, logits, name="word_lstm")


def _locked(x: tf.Tensor, rate: float, name: str) -> tf.Tensor:
    return _LAYERS.SpatialDropout1D(rate, name=name)(x) if rate else x


def _lstm(width: int, weight_drop: float, name: str) -> WeightDropLSTM:
    """A layer with PyTorch's initial weights."""
    bound = width**-0.5
    return WeightDropLSTM(
        width,
        weight_drop=weight_drop,
        return_sequences=True,
        kernel_initializer=_uniform(bound),
        recurrent_initializer=_uniform(bound),
        bias_initializer=_uniform(bound),
        unit_forget_bias=False,
        name=name,
    )


def _uniform(bound: float) -> tf.keras.initializers.Initializer:
    return tf.keras.initializers.RandomUniform(-bound, bound)
