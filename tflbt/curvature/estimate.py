"""`top_eigenvalue` and `top_eigenvalues`: outer Hessian eigenvalues of a block, or of the whole model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.checks import number, one_of, whole
from tflbt.curvature.hessian_of import Hessian, hessian_of
from tflbt.curvature.lanczos import WHICH, lanczos
from tflbt.curvature.result import EigenResult, judged
from tflbt.curvature.selection import check_layers
from tflbt.distributed import comm


@checks.arguments
def top_eigenvalue(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    *,
    layers: str | Sequence[str] = "output",
    method: str = "finite_difference",
    solver: str = "power",
    which: str = "magnitude",
    iterations: int = 10,
    tolerance: float | None = None,
    seed: int = 0,
    sample_weight: Any = None,
    sub_batch_size: int | None = None,
    loss: Any = None,
    start_vector: Sequence[np.ndarray] | None = None,
    step: float | None = None,
    reduction: comm.Reduction | None = None,
    regularization: bool = False,
) -> EigenResult:
    r"""Estimate an outer Hessian eigenvalue, by default the one of largest size, with its sign.

    $$H = \nabla^2 F(w), \qquad
    F = \frac1N \sum_{i=1}^N s_i\, \ell(y_i, f_w(x_i)), \qquad
    v \leftarrow \frac{Hv}{|Hv|}, \quad \lambda = v^\top H v$$

    F is the loss as Keras averages it; w are the variables of the layers chosen. The model runs in inference mode
    (BatchNorm, dropout and augmentation layers as in `predict`), mixed precision as float32. Afterwards, also after an
    exception, every weight, BatchNorm statistics included, is what it was, bit for bit.

    For a block (anything but "all") the network is run over the samples **once**; the iteration then works on a copy of
    the block's layers and what follows them (float64 for differences, float32 for exact products), so ten iterations of
    the output layer cost little more than one forward pass. A model that cannot be cut there, such as a subclassed one
    (see `halves`), is evaluated whole at every iteration, after a logged notice, with the same result. A product of the
    whole model takes about 3 gradients' time, or 2 after one for all where the samples fit one sub-batch.

    Under Horovod every rank passes its own samples, possibly none, and must make the same call; the samples of all
    ranks count alike, one all-reduce per product, and every rank gets the same answer. Weights are taken to be equal on
    all ranks.

    Args:
        model: Any built Keras model, compiled unless `loss` is given.
        x: Inputs, `[samples, ...]`, an array or a list, tuple or dict of arrays.
        y: Targets, likewise.
        layers: Default "output": the last layer called that has a trainable kernel. "last_2" (or another number): the
            last two such layers, as in Fig. 6 of the ABSA paper; normalisation between them is not part of it. "all":
            every trainable variable. A layer name or several: the trainable variables of those layers.
        method: Default "finite_difference": central differences of gradients, for the output layer only. "exact":
            differentiate twice.
        solver: Default "power": power iteration, improved (see `power_iteration`), three vectors of memory. "lanczos":
            fewer products to the same residual, and the memory of one vector as large as the weights chosen for every
            product taken.
        which: Default "magnitude". With Lanczos also "largest", the most positive, and "smallest", the most negative.
        iterations: Default 10. The largest number of Hessian-vector products, at least 1. A few products give the size;
            hundreds of the output layer's still cost milliseconds.
        tolerance: Default None: take all `iterations`. Above 0: stop when the residual is at most that times
            `|\lambda|`. `converged` is judged by it, or by 1e-2 if it is None. The eigenvalue itself is far more exact
            than the residual, see `EigenResult`.
        seed: Default 0. Draws the start vector. Compare values only across calls with the same samples, seed or start
            vector, and number of iterations.
        sample_weight: Default None. s, `[samples]`, as Keras takes it.
        sub_batch_size: Default None: 256. Samples that go through the network at once, at least 1; the last sub-batch
            may be smaller. It changes memory and speed, not the answer.
        loss: Default None: the loss the model was compiled with. Else what `compile` takes.
        start_vector: Default None. The `eigenvector` of an earlier result, a head start. With a loose tolerance it
            follows its eigenvalue for a while after another has become the largest.
        step: Default None: 0.001, or 0.02 where float64 is not possible. Roughly how far differences move the layer's
            output, in its own unit; see `products.step_length`.
        reduction: Default None: all ranks. A `comm.Reduction` names fewer by its process set.
        regularization: Default False. Whether the loss terms of regularisers and `add_loss` (`model.losses`) are part
            of F; they count once, as in `fit`.

    Returns:
        An `EigenResult`. `eigenvector` has one array per variable, kernel before bias. Where the samples yield NaN or
        infinity, `eigenvalue` is NaN and `converged` False.

    Raises:
        ValueError: An argument out of range, arrays that do not fit together or the model, a model that is not built,
            or neither compiled nor given a `loss`, an unknown layer, finite differences asked of anything but the
            output layer, or an operation without a second derivative (its name is in the message).

    To measure the whole Hessian once per epoch, use `layers="all", method="exact", solver="lanczos", iterations=20,
    tolerance=0.05`, the last result's eigenvector as `start_vector`, and one batch in one sub-batch: 3 to 6 products, 2
    to 4% of a CIFAR-10 epoch with ResNet-20.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(2,))])
        >>> model.compile(loss="mse")                        # F = mean (y - xw)^2, H = 2 mean xx^T
        >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])
        >>> result = top_eigenvalue(model, x, np.zeros((2, 1)), iterations=20)
        >>> round(result.eigenvalue, 3), result.converged
        (4.0, True)

    Source: section 3.2 of the two-phase paper, equations 8 to 10, with the sign between the gradients corrected, the
    difference made central, and the best of three directions taken where the paper takes the power step (see
    `power_iteration`), and the network run once; exact products and blocks: sections 3 and V of the ABSA paper.
    """
    check_options(
        layers=layers, method=method, solver=solver, which=which, iterations=iterations,
        tolerance=tolerance, seed=seed, sub_batch_size=sub_batch_size, step=step,
    )  # fmt: skip
    with hessian_of(
        model, x, y, layers=layers, method=method, sample_weight=sample_weight,
        sub_batch_size=sub_batch_size, loss=loss, step=step, reduction=reduction,
        regularization=regularization,
    ) as hessian:  # fmt: skip
        start = hessian.start(seed, start_vector)
        if solver == "power":
            return hessian.power(start, int(iterations), tolerance)
        return _by_lanczos(hessian, start, 1, which, int(iterations), tolerance)[0]


@checks.arguments
def top_eigenvalues(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    k: int,
    *,
    layers: str | Sequence[str] = "output",
    which: str = "magnitude",
    iterations: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    start_vector: Sequence[np.ndarray] | None = None,
    **options: Any,
) -> list[EigenResult]:
    """Estimate several outer eigenvalues of the Hessian at once, by Lanczos on exact products.

    One space of products holds them all, so k eigenvalues take far fewer products than k searches. It keeps one vector
    as large as the weights chosen for every product taken: 4 bytes x `iterations` x weights (30 products of ResNet-20's
    270,000 weights: 32 MB), in the process's memory. Samples, ranks, blocks and precision are treated as in
    `top_eigenvalue`.

    Args:
        model: Any built Keras model, compiled unless `loss` is given.
        x: Inputs, `[samples, ...]`.
        y: Targets, likewise.
        k: How many, from 1 to the number of weights.
        layers: Default "output"; see `top_eigenvalue`.
        which: Default "magnitude": those largest in size. "largest": the most positive; "smallest": the most negative,
            saddle directions.
        iterations: Default None: 10 + 5 k. The largest number of products of a search, at least k. For k of 2 or more a
            second search, of what is orthogonal to the eigenvectors found, looks for copies of multiple eigenvalues,
            and another follows where it finds some. Where it cannot say, `converged` is False.
        tolerance: Default None: take all. Above 0: stop when every one of the k has a residual of at most that times
            its size. `converged` is judged by it, or by 1e-2, one by one.
        seed: Default 0. Draws the start vector.
        start_vector: Default None. A head start: the sum of the earlier eigenvectors, say.
        **options: `sample_weight`, `sub_batch_size`, `loss`, `reduction` and `regularization` of `top_eigenvalue`.

    Returns:
        k results, best first; each names all products as its `iterations`. NaN in the samples makes all eigenvalues
        NaN, and none converged.

    Raises:
        ValueError: As `top_eigenvalue`, or a k that is out of range.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(2,))])
        >>> model.compile(loss="mse")
        >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])
        >>> [round(result.eigenvalue, 3) for result in top_eigenvalues(model, x, np.zeros(2), 2)]
        [4.0, 1.0]

    Source: Parlett, "The Symmetric Eigenvalue Problem" (1980), chapter 13.
    """
    whole("k", k, at_least=1)
    limit = 10 + 5 * int(k) if iterations is None else iterations
    check_options(
        layers=layers, method="exact", solver="lanczos", which=which, iterations=limit,
        tolerance=tolerance, sub_batch_size=options.get("sub_batch_size"),
    )  # fmt: skip
    with hessian_of(model, x, y, layers=layers, **options) as hessian:
        if k > hessian.parameters:
            raise ValueError(f"k={k}: the layers chosen have {hessian.parameters} weights only")
        if limit < k:
            raise ValueError(f"iterations={limit} must be at least k={k}: a product finds one more")
        start = hessian.start(seed, start_vector)
        return _by_lanczos(hessian, start, int(k), which, int(limit), tolerance)


def _by_lanczos(hessian: Hessian, start, count, which, iterations, tolerance) -> list[EigenResult]:
    flat = np.concatenate([part.ravel() for part in start])
    pairs, products = lanczos(
        hessian.product, flat, count=count, which=which, iterations=iterations, tolerance=tolerance
    )
    results = [
        judged(pair.value, hessian.split(pair.vector), pair.residual, products, tolerance)
        for pair in pairs
    ]
    return [
        dataclasses.replace(result, converged=result.converged and pair.is_sure)
        for result, pair in zip(results, pairs)
    ]


def check_options(
    *,
    layers: str | Sequence[str] = "output",
    method: str = "finite_difference",
    solver: str = "power",
    which: str = "magnitude",
    iterations: int = 10,
    tolerance: float | None = None,
    seed: int = 0,
    sub_batch_size: int | None = None,
    step: float | None = None,
    loss: Any = None,
    regularization: bool = False,
) -> None:
    """Raises ValueError unless options of `top_eigenvalue` fit, as far as that can be told without a model."""
    check_layers(layers)
    one_of("method", method, ("finite_difference", "exact"))
    one_of("solver", solver, ("power", "lanczos"))
    one_of("which", which, WHICH)
    whole("iterations", iterations, at_least=1)
    if tolerance is not None:
        number("tolerance", tolerance, more_than=0, hint=", or None to take all iterations")
    whole("seed", seed, at_least=0)
    if sub_batch_size is not None:
        whole("sub_batch_size", sub_batch_size, at_least=1)
    if step is not None:
        number("step", step, more_than=0, hint=", or None for the default")
    if solver == "power" and which != "magnitude":
        raise ValueError(
            f'which={which!r} needs solver="lanczos": power iteration finds the eigenvalue of '
            'largest size only (which="magnitude").'
        )
    if layers != "output" and method != "exact":
        raise ValueError(
            f'method={method!r} works for layers="output" only, not for layers={layers!r}:'
            " a step in the weights of a ReLU network crosses kinks and the difference is far off "
            '(10 to 25 for an eigenvalue of 1.78). Use method="exact".'
        )
