"""The peer of the `start` benchmark: a script of plain Keras that trains the digits recipe, up to its first update.

python tflbt/benchmarks/bare_keras.py
"""

import os

import tensorflow as tf

K = tf.keras


class EndsAfterAnUpdate(tf.keras.callbacks.Callback):
    """Ends the process."""

    def on_train_batch_end(self, batch, logs=None):
        """The first update is there."""
        os._exit(0)


def convolution(inputs, width, size=3, stride=1):
    """A convolution with batch normalisation."""
    outputs = K.layers.Conv2D(width, size, stride, "same", use_bias=False)(inputs)
    return K.layers.BatchNormalization()(outputs)


def network():
    """ResNet-8 for images of 8x8."""
    inputs = K.Input([8, 8, 1])
    outputs = K.layers.ReLU()(convolution(inputs, 16))
    for width in (16, 32, 64):
        stride = 1 if width == 16 else 2
        inner = K.layers.ReLU()(convolution(outputs, width, stride=stride))
        inner = convolution(inner, width)
        shortcut = outputs if stride == 1 else convolution(outputs, width, 1, stride)
        outputs = K.layers.ReLU()(inner + shortcut)
    return K.Model(inputs, K.layers.Dense(10)(K.layers.GlobalAveragePooling2D()(outputs)))


def augmented(image, label):
    """Shifts an image by up to a pixel."""
    return tf.image.random_crop(tf.pad(image, [[1, 1], [1, 1], [0, 0]]), [8, 8, 1]), label


def main():
    """Trains."""
    from sklearn import datasets, model_selection

    bunch = datasets.load_digits()
    x, x_test, y, y_test = model_selection.train_test_split(
        bunch.images[..., None].astype("float32"),
        bunch.target,
        test_size=0.2,
        stratify=bunch.target,
    )
    mean, deviation = x.mean(), x.std()
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).map(augmented).batch(32)
    model = network()
    model.compile(
        K.optimizers.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=5e-4),
        K.losses.SparseCategoricalCrossentropy(from_logits=True),
        ["accuracy"],
    )
    model.fit(
        data,
        validation_data=(x_test, y_test),
        epochs=60,
        verbose=0,
        callbacks=[EndsAfterAnUpdate()],
    )


if __name__ == "__main__":
    main()
