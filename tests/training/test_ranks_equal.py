"""Two ranks with sub-batches make the updates, and report the metrics, of one process with one batch."""

from __future__ import annotations

import pytest

EQUAL = """
optimizers = {
    "sgd": lambda: K.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: K.optimizers.Adam(0.01),
    "lars": lambda: LARS(0.5, momentum=0.9, weight_decay=1e-3, trust_coefficient=0.01),
    # A limit that an update's whole gradient exceeds: clipped once, after the reduction, or not equal.
    "clipped": lambda: K.optimizers.SGD(0.5, momentum=0.9, global_clipnorm=0.05),
}
for name, optimizer in optimizers.items():
    trained = large(optimizer())
    check(trained, plain(optimizer()))
    assert int(trained[0].optimizer.iterations) == 6 and trained[0].samples_seen == 90
    check(large(hvd.DistributedOptimizer(optimizer())), plain(optimizer()))

(clipped, _), (free, _) = plain(optimizers["clipped"]()), plain(K.optimizers.SGD(0.5, momentum=0.9))
assert not np.allclose(clipped.get_weights()[0], free.get_weights()[0], atol=1e-2)

model = LargeBatchModel.from_model(network())
model.compile(optimizers["adam"](), "mse", ["mae"], run_eagerly=True)
check((model, model.fit(x, y, **USUAL).history), plain(optimizers["adam"]()))

# Metrics that are no means, sample weights, validation, evaluation.
labels, weight = (x.sum(1) > 0).astype("int64"), np.linspace(0, 1, 30).astype("float32")
results = []
for train in (large, plain):
    results.append(train(
        K.optimizers.SGD(0.1), network(outputs=1, activation="sigmoid"), "binary_crossentropy",
        ["accuracy", K.metrics.AUC(name="auc"), K.metrics.Precision(name="precision")], (x, labels),
        sample_weight=weight, validation_data=(x[:7], labels[:7]),
    ))
check(*results)
evaluated = [model.evaluate(x, labels, sample_weight=weight, verbose=0) for model, _ in results]
close(*evaluated)
identical_on_ranks([evaluated[0]], "evaluated")

# One group of all-reduces an update, whatever the number of sub-batches and the wrapper.
def reductions(model):
    (function,) = model.train_tf_function._list_all_concrete_functions_for_serialization()
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    return [node.op for node in nodes if "orovod" in node.op]

for wrapper in (lambda o: o, hvd.DistributedOptimizer):
    model, _ = large(wrapper(K.optimizers.Adam(0.01)))
    assert reductions(model) == ["HorovodGroupedAllreduce"], reductions(model)

# BatchNorm sees sub-batches: two ranks of k equal one rank of 2 k.
trained, _ = large(K.optimizers.SGD(0.1), network(norm=True))
alone = hvd.DistributedOptimizer(K.optimizers.SGD(0.1), process_set=sets[rank])
reference, _ = large(alone, network(norm=True))
close([v.numpy() for v in trained.trainable_variables], [v.numpy() for v in reference.trainable_variables])
identical_on_ranks(trained.get_weights(), "moving statistics too")
assert not np.allclose(trained.get_weights()[4], 0)

# Each rank its own training, at the same time, in its own process set.
mine = dict(data=(x[rank::2], y[rank::2]), epochs=2 + rank)
alone = hvd.DistributedOptimizer(K.optimizers.Adam(0.01), process_set=sets[rank])
model, _ = large(alone, network(seed=rank), **mine)
wanted, _ = plain(K.optimizers.Adam(0.01), network(seed=rank), **mine)
close(model.get_weights(), wanted.get_weights())
assert model.reduction.size == 1 and model.batch_plan.sub_batches == 8

# Compression and sum.
half = hvd.DistributedOptimizer(K.optimizers.SGD(0.1, momentum=0.9), compression=hvd.Compression.fp16)
(compressed, _), (exact, _), (wanted, _) = large(half), large(optimizers["sgd"]()), plain(optimizers["sgd"]())
close(compressed.get_weights(), wanted.get_weights(), 2e-3)
identical_on_ranks(compressed.get_weights(), "compressed")
assert set(reductions(compressed)) == {"HorovodGroupedAllreduce"}
assert not np.array_equal(compressed.get_weights()[0], exact.get_weights()[0])
check(large(hvd.DistributedOptimizer(K.optimizers.SGD(0.05), op=hvd.Sum)), plain(K.optimizers.SGD(0.1)))
"""


@pytest.mark.ranks(2)
def test_two_ranks_equal_one_process(on_ranks):
    on_ranks(EQUAL)


DATA = """
# Unequal numbers of sub-batches, of lengths that are not known: nobody waits for ever, every sample counts.
def unknown(x, y, size):
    return tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda *_: True).batch(size)

first = 22  # rank 0: 11 sub-batches, rank 1: 4
share = slice(0, first) if rank == 0 else slice(first, 30)
model, history = large(
    K.optimizers.SGD(0.1), data=(unknown(x[share], y[share], 2),), batch_size=16, sub_batch_size=2,
    validation_data=unknown(x[share], y[share], 2), epochs=2,
)
assert int(model.optimizer.iterations) == 6 and model.samples_seen == 60
identical_on_ranks([*model.get_weights(), *history.values()], "unknown")

def reference():
    # The samples that the two ranks' sub-batches bring to each update, one process at a time.
    updates = [[*range(8), *range(22, 30)], [*range(8, 16)], [*range(16, 22)]]
    model = network()
    model.compile(K.optimizers.SGD(0.1), "mse")
    for update in updates * 2:
        model.train_on_batch(x[update], y[update])
    return model

close(model.get_weights(), reference().get_weights())
close(history["val_loss"][-1:], [reference().evaluate(x, y, verbose=0)])
close(model.evaluate(unknown(x[share], y[share], 2), verbose=0), [history["val_loss"][-1], history["val_mae"][-1]])

# A generator and a model whose weights and metrics do not exist before the first batch.
class Late(LargeBatchModel):
    def __init__(self):
        super().__init__()
        self.inner = K.Sequential([K.layers.Dense(8, "tanh"), K.layers.Dense(2)])

    def call(self, inputs):
        return self.inner(inputs)

def generated():
    while True:
        for start in range(2 * rank, 28, 4):
            yield x[start : start + 2], y[start : start + 2]

late = Late()
late.compile(K.optimizers.SGD(0.1), "mse", ["mae", K.metrics.RootMeanSquaredError(name="root")])
history = late.fit(generated(), batch_size=28, steps_per_epoch=7, verbose=0).history
identical_on_ranks([*late.get_weights(), *history.values()], "late")
assert late.batch_plan.sub_batches == 7 and int(late.optimizer.iterations) == 1
# The loss of the one update is that of the weights before it, which are the chief's: undo nothing, compare with Keras.
again = Late()
again(x)
again.set_weights(late.get_weights())
again.compile(K.optimizers.SGD(0.0), "mse", ["mae", K.metrics.RootMeanSquaredError(name="root")])
history = again.fit(generated(), batch_size=28, steps_per_epoch=7, verbose=0).history
twin = K.Sequential([K.Input([5]), K.layers.Dense(8, "tanh"), K.layers.Dense(2)])
twin.set_weights(late.get_weights())
twin.compile("sgd", "mse", ["mae", K.metrics.RootMeanSquaredError(name="root")])
close([history[name][0] for name in ("loss", "mae", "root")], twin.evaluate(x[:28], y[:28], verbose=0))
"""


@pytest.mark.ranks(2)
def test_datasets_of_each_rank(on_ranks):
    on_ranks(DATA)
