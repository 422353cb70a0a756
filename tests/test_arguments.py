"""Every export, `fit`, `evaluate` and `compile`: each bad argument is refused by its name, before anything happens."""

from __future__ import annotations

import importlib
import inspect
import math
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import tflbt
from tflbt import control, data, recipes, schedules
from tflbt.analysis import Regimes, Run

X, Y = np.ones([4, 3], "float32"), np.array([0, 1, 0, 1])
IMAGES = np.arange(16, dtype="uint8").reshape(4, 2, 2, 1)
HUGE, LARGE = 10**30, 2**62
NOT_NUMBERS = (
    "", "abc", "0.5", b"x", 1 + 2j, [1, "a"], {}, {"a": 1}, object(), len, np.zeros(3), ("a",), [math.nan], [HUGE],
    [], [0], [-1, 2],
)  # fmt: skip
HOSTILE = (
    None, True, math.nan, math.inf, -math.inf, 1e300, HUGE, LARGE, -1, 0, 1.5, -0.5, np.float32("nan"), *NOT_NUMBERS,
)  # fmt: skip
# What may be legal by an argument's annotation, and so is not tried.
TEXTS, LISTS = ("", "abc", "0.5"), ([], [0], ("a",))
MAY_BE = {
    "None": (None,),
    "bool": (True,),
    "int": (0,),
    "float": (0, 1.5),
    "Measured": (
        np.float32("nan"),
        math.nan,
        math.inf,
        -math.inf,
        1e300,
        HUGE,
        LARGE,
        -1,
        0,
        1.5,
        -0.5,
    ),
    "str": TEXTS,
    "Callable": (len,),
    "Transform": (len,),
    "ndarray": (np.zeros(3),),
    "Sequence[str]": ([], ("a",)),
    "Iterable[str]": ([], ("a",)),
    "tuple[str, ...]": ([], ("a",)),
    "Sequence[": ([],),
    "tuple[": ([],),
    "Iterable[": ([],),
    "Mapping": ({}, {"a": 1}),
    "dict": ({}, {"a": 1}),
    "ConfigDict": (),
}
# Further values that mean something, with the reason.
LEGAL = {
    "valid_range": [[-1, 2]],  # images of -1 .. 2
    "distances": [np.zeros(3), [0], [-1, 2]],  # along an eigenvector, both ways
    "seed": [LARGE],  # 63 bits
    "axis": [-1, [0], [-1, 2]],  # counts from the end; Keras saves it as a list
    "learning_rate": [0, 1.5],  # of optimizers: a number or a schedule
    "mean": [-1, 0, 1.5, -0.5, np.zeros(3), [0], [-1, 2]],
    "scale": [1.5],
    "layers": [*TEXTS, ("a",)],  # names, known when there is a model
    "curvature_data": [len, [1, "a"], [-1, 2]],  # (x, y) or a function, looked at when `fit` begins
    "margin_data": [len, [1, "a"], [-1, 2]],
    "gradient_data": [len, [1, "a"], [-1, 2]],
    "hypermodel": [len],  # likewise by the search
    "arrays": [np.zeros(3)],
    "sample_weight": [None],
    "loss": [None],
    "SmallLossDiscarding.epochs": [None, 0],
    "SmoothedSparseCategoricalCrossentropy.label_smoothing": [0],
    "group": [None],  # all ranks are one group
    "weight_decay": [0, 1.5],  # these have no annotations: `prepares` adds them
    "bn_momentum": [0, None],
    "bn_epsilon": [0, 1.5, None],
    "decay_last_bias": [True],
    "ghost_batch_size": [None],
    # Counts in what functions of ours return.
    "EigenResult.iterations": [-1],
    "SpectralDensity.parameters": [-1],
    "TraceResult.products": [-1],
    "Result.killed": [[0], [-1, 2]],
    **{
        f"Regimes.{n}": [-1]
        for n in ("small_up_to", "large_from", "huge_above", "huge_from", "full")
    },
    "fit.callbacks": [None, [], {}],
    "fit.x": [np.zeros(3)],
    "fit.y": [],
    "fit.validation_data": [None],
    "fit.verbose": [None, True, 0],
    "fit.shuffle": [None, True, 0],
    "fit.class_weight": [None, {}],
    "fit.sample_weight": [None, {}],
    "fit.transform": [None, len],
    "fit.validation_freq": [[], [0], [-1, 2]],  # the epochs after which to validate
    "evaluate.callbacks": [None, [], {}],
    "evaluate.verbose": [None, True, 0],
    "evaluate.sample_weight": [None, {}],
    "compile.metrics": [None, [], {}, len],
    "compile.weighted_metrics": [None, [], {}, len],
    "compile.loss": [None, [], {}, len],
    "compile.loss_weights": [None, [], {}, {"a": 1}, 0, -1, 1.5, -0.5, [0], [-1, 2], np.zeros(3)],
}
NO_FILES = ("data_dir", "directory", "run_directory", "path", "recipe", "file", "name", "what")


def _unit() -> tf.keras.Model:
    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    return model


def _calls(folder: Path) -> dict[str, dict[str, Any]]:
    """For each export whose arguments are not all optional: those that it needs."""
    model, run = _unit(), {"batch_size": 8, "accuracy": 0.9, "loss": 0.1, "epochs": 2}
    one = Run(**run)
    found = {"baseline": one, "runs": (one,), "small_up_to": 8, "large_from": None}
    found |= {"huge_above": 8, "huge_from": None, "full": None}
    names = np.array(["a"]), np.array([0])
    stored = dict(zip(("x_train", "y_train", "x_test", "y_test"), names * 2))
    stored |= {"root": folder, "class_names": ("a",), "image_size": 8, "name": "s"}
    measured = {"model": model, "x": X, "y": Y}
    direction = [np.ones([3, 2], "float32"), np.ones(2, "float32")]
    text = np.zeros([2, 3], "int32"), np.zeros([2, 3], "int64")
    curve, zeros = schedules.CosineDecay(3), np.zeros(2)
    space = keras_tuner.HyperParameters()
    space.Float("rate", 0.01, 0.1)
    sizes = {"batch_size": 8, "base_batch_size": 4}
    images = data.ImageData(IMAGES, Y, IMAGES, Y, 2, "i")
    calls: dict[str, dict[str, Any]] = {
        "Run": run, "Regimes": found, "regimes": {"baseline": one, "runs": [one]},
        "regime_line": {"found": Regimes(**found), "batch_size": 8},
        "AdaptiveBatchSize": {"max_batch_size": 64, "curvature_data": (X, Y)}, "Checkpoint": {"directory": folder},
        "CurvatureMonitor": {"curvature_data": (X, Y)}, "FirstEpochsBatch": {"batch_size": 8},
        "GrowBatchSize": {"epochs": [1], "max_batch_size": 64}, "MarginMonitor": {"margin_data": (X, Y)},
        "RateCurve": {"curves": curve}, "RunLog": {"run_directory": folder},
        "SignalToNoise": {"gradient_data": (X, Y), "batch_size": 2}, "StabilityMonitor": {"curvature_data": (X, Y)},
        "callbacks.StepDecay": {"epochs": [1]}, "schedules.StepDecay": {"epochs": [1]},
        "TwoPhaseSchedule": {"curvature_data": (X, Y)}, "Warmup": {"epochs": 2},
        "ElasticRanks": {"max_ranks": 4}, "ranks_for": {"batch_size": 8, "max_ranks": 4},
        "AdaptiveBatch": {"batch_size": 8, "max_batch_size": 64}, "BatchPlan": {"batch_size": 8},
        "ComposedRate": {"base": 0.1}, "MedianStopping": {"direction": "min", "epochs": 10}, "Plateau": {"patience": 2},
        "TwoPhase": {"plateau": control.Plateau(2)}, "stability_limit": {"learning_rate": 0.1},
        "grown": {"batch_size": 8, "decays": 1, "factor": 2.0, "max_batch_size": 64},
        "Cut": {"distances": zeros, "losses": zeros, "eigenvalue": 0.1, "residual": 0.1},
        "EigenResult":
            {"eigenvalue": 0.1, "eigenvector": (zeros,), "residual": 0.1, "iterations": 1, "converged": True},
        "SpectralDensity": {"nodes": zeros, "weights": zeros, "parameters": 3},
        "TraceResult": {"trace": 0.1, "standard_error": 0.1, "products": 3},
        "filter_normalised": {"variables": model.trainable_variables, "seed": 0},
        "hessian_vector_product": {**measured, "vector": direction}, "top_eigenvalues": {**measured, "k": 1},
        "losses_at": {**measured, "directions": [direction], "coordinates": np.zeros([1, 1])},
        "ImageData": dict(zip(stored, (IMAGES, Y) * 2), classes=2, name="i"),
        "TextData": dict(zip(stored, text * 2), classes=2, name="t"),
        "Standardize": {"mean": np.zeros(1), "scale": np.ones(1)}, "augmented_batches": {"instances": 2},
        "fit_standardize": {"images": IMAGES}, "data.load": {"name": "digits"},
        "load_tensorflow_datasets": {"name": "x", "data_dir": folder / "no"},
        "shard": {"dataset": tf.data.Dataset.range(4)},
        "one_epoch": {"arrays": (X, Y), "sub_batch_size": 2}, "sub_batches": {"arrays": (X, Y), "sub_batch_size": 2},
        "steps_per_epoch": {"samples": 8, "sub_batch_size": 2}, "with_holdout": {"images": images, "count": 1},
        "GhostBatchNormalization": {"ghost_size": 2}, "models.build": {"name": "lenet"}, "network": {"name": "lenet"},
        "prepared": {"model": _unit()}, "LayerWise": {"inner": tf.keras.optimizers.SGD(0.1)},
        "recipes.lars": {"learning_rate": 0.1, "weight_decay": 0.0}, "recipes.load": {"recipe": "no.py"},
        "read_function": {"file": "no.py", "name": "f", "what": "recipe"},
        "require_key": {"config": recipes.default_config(), "key": "seed"},
        "section": {"kind": "optimizer", "name": "SGD"},
        "start": {"file": "digits", "variant": "lars"}, "History": {"rows": [{"epoch": 1, "loss": 0.1}]},
        "MetricsTable": {"path": folder / "m"}, "RunDirectory": {"path": folder / "r"},
        "report.write": {"run_directory": folder / "no"}, "write_search": {"directory": folder / "no"},
        "CurveSchedule": {"learning_rate": 0.1, "curves": curve, "updates_per_epoch": 4.0}, "Cyclical": {"length": 2},
        "linear_scaling": {"learning_rate": 0.1, **sizes}, "square_root_scaling": {"learning_rate": 0.1, **sizes},
        "regime_adaptation": {"epochs": 3, **sizes}, "HyperModelTrainer": {"hypermodel": lambda hp: _unit()},
        "Result": {"number": 1, "values": {}, "objective": 0.1, "trials": 1}, "Trial": {"number": 1, "values": {}},
        "Search": {"directory": folder / "s", "space": space, "objective": "val_loss", "max_trials": 2},
        "space_of": {"hypermodel": lambda hp: _unit()},
        **{name: stored for name in ("ImageFolder", "ImageRecords", "StoredImages")},
        **{name: {"epochs": 3} for name in ("CosineDecay", "CosineWarmup", "LinearWarmup", "PolynomialDecay")},
        **{name: measured for name in (
            "eigenvector_cut", "exact_radii", "input_margins", "spectral_density", "top_eigenvalue", "trace")},
        **{f"load_{name}": {"data_dir": folder / "no"} for name in (
            "cifar10", "cifar100", "mnist", "mushroom", "penn_treebank", "svhn", "tiny_imagenet", "imagenet",
            "image_folder", "image_records")},
    }  # fmt: skip
    return calls


def _exports() -> Iterator[tuple[str, Any]]:
    """The names, with their packages', and what they are, of all that can be called; each once."""
    seen = set()
    for package in ("", *tflbt._PACKAGES):
        module = importlib.import_module(f"tflbt.{package}") if package else tflbt
        for name in getattr(module, "__all__", ()):
            found = getattr(module, name)
            if callable(found) and found not in seen:
                seen.add(found)
                yield f"{package}.{name}", found


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a is b or repr(a) == repr(b))


def _may_be(parameter: inspect.Parameter, owner: str, value: Any) -> bool:
    """Whether a value may be legal, by the argument's annotation or by the table."""
    kind = str(parameter.annotation)
    legal = [value for word, values in MAY_BE.items() if word in kind for value in values]
    legal += LEGAL.get(parameter.name, []) + LEGAL.get(f"{owner}.{parameter.name}", [])
    return any(_equal(value, each) for each in legal)


def _outcome(call: Any, parameter: inspect.Parameter, known: dict[str, Any], value: Any) -> str:
    """Nothing if the value is refused by the argument's name, otherwise what became of it."""
    name = parameter.name
    several = parameter.kind is parameter.VAR_POSITIONAL
    try:
        call(value) if several else call(**{**known, name: value})
    except (TypeError, ValueError) as error:
        return "" if name in str(error) else f"{type(error).__name__}: {str(error)[:100]}"
    except OSError as error:  # a file that is not there
        return "" if name in NO_FILES else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:100]}"
    return "accepted"


def _faults(name: str, call: Any, known: dict[str, Any]) -> tuple[int, list[str]]:
    """How many bad arguments were tried, and what became of those that were not refused by name."""
    tried, faults = 0, []
    owner = name.rpartition(".")[2]
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or (owner, parameter.name) in UNTRIED:
            continue
        for value in HOSTILE:
            if _may_be(parameter, owner, value):
                continue
            tried += 1
            if outcome := _outcome(call, parameter, known, value):
                faults.append(f"{name}({parameter.name}={reprlib.repr(value)}): {outcome}")
    return tried, faults


# Passed on to functions of the user's own.
UNTRIED = {("HyperModelTrainer", "fit_args"), ("LargeBatchModel", "args")}


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> dict[str, dict[str, Any]]:
    return _calls(tmp_path_factory.mktemp("no"))


def test_every_export_refuses_bad_arguments_by_name(calls, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tried, faults = 0, []
    for name, export in _exports():
        short = name.rpartition(".")[2]
        known = calls.get(name, calls.get(short, {}))
        more, found = _faults(name, export, known)
        tried, faults = tried + more, faults + found
    assert not faults, f"{len(faults)} of {tried}:\n" + "\n".join(faults[:60])
    assert tried > 15_000


# Of the right type, and yet nonsense.
NONSENSE = {
    "grown": {"decays": [10**6]}, "GhostBatchNormalization": {"axis": [[]]}, "TwoPhaseSchedule": {"monitor": ["", " "]},
    "PadCropFlip": {"padding": [10**9]}, "Cutout": {"size": [0, 10**9]}, "data.load": {"data_dir": [" "]},
    "StoredImages": {"class_names": [(), ("",)]}, "cifar_resnet": {"depth": [6 * 10**7 + 2, 0]},
    "word_lstm": {"layers": [0, 10**9]}, "darts": {"cells": [1, 10**9]},
}  # fmt: skip


def test_values_of_the_right_type_that_mean_nothing_are_refused_too(calls):
    exports = dict(_exports())
    for short, arguments in NONSENSE.items():
        (name,) = [name for name in exports if f".{name}".endswith(f".{short}")]
        parameters = inspect.signature(exports[name]).parameters
        for argument, values in arguments.items():
            for value in values:
                known = calls.get(short, {})
                outcome = _outcome(exports[name], parameters[argument], known, value)
                assert not outcome, f"{name}({argument}={value!r}): {outcome}"


def test_fit_evaluate_and_compile_refuse_bad_arguments_by_name():
    inputs = tf.keras.Input([3])
    model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(2)(inputs))
    arguments = {"x": X, "y": Y, "verbose": 0}
    methods = {
        "compile": (model.compile, {}),
        "from_model": (tflbt.LargeBatchModel.from_model, {}),
        "fit": (model.fit, {**arguments, "batch_size": 4}),
        "evaluate": (model.evaluate, arguments),
    }
    tried, faults = 0, []
    for name, (method, known) in methods.items():
        if name == "fit":
            model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        more, found = _faults(name, method, known)
        tried, faults = tried + more, faults + found
    assert not faults, f"{len(faults)} of {tried}:\n" + "\n".join(faults[:60])
    assert tried > 1_000 and int(model.optimizer.iterations) == 0


# What plain Keras takes too, as its users write it; several in a `fit`.
LEGAL_FITS = (
    {"verbose": 3, "shuffle": 0, "validation_split": None, "epochs": np.array(1), "batch_size": tf.constant(4)},
    {"verbose": None, "shuffle": None, "validation_split": np.float32(0.5), "epochs": np.int64(1)},
    {"verbose": np.int64(0), "shuffle": 1, "class_weight": {np.int64(0): np.float32(1), np.int64(1): 2}},
    {"shuffle": np.bool_(True), "class_weight": {0: tf.constant(1.0), 1: np.array(2.0)}, "batch_size": np.uint8(4)},
    {"callbacks": tf.keras.callbacks.History(), "validation_data": [X, Y], "validation_freq": [1]},
    {"callbacks": ((tf.keras.callbacks.History(),), []), "sample_weight": np.ones([4, 1])},
)  # fmt: skip


def test_fit_takes_what_keras_takes():
    inputs = tf.keras.Input([3])
    model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(2)(inputs))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, loss_weights=np.array([0.5]))
    for arguments in LEGAL_FITS:
        model.fit(X, Y, **{"verbose": 0, **arguments})
    batches, steps = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2), np.ceil(len(X) / 2)
    model.fit(batches.repeat(), steps_per_epoch=steps, verbose=0)
    model.fit(batches, validation_data=batches, validation_steps=steps, verbose=0)
    model.evaluate(batches, steps=steps, verbose=3)


def test_numpys_and_paths_spellings_are_taken(tmp_path):
    assert schedules.regime_adaptation(np.array([1, 2]), 8, 4) == (2, 4)
    assert tflbt.callbacks.RunLog(tmp_path, verbose=True).verbose == 1
    assert data.fit_standardize(tf.constant(IMAGES)).mean.shape == (2, 2, 1)
    assert float(tflbt.optimizers.LARS(np.array(0.5)).learning_rate) == 0.5
    config = recipes.default_config()
    config.epochs, config.deterministic = np.int64(3), np.bool_(True)
    config.optimizer.learning_rate = np.float32(0.5)
    config.schedule = {"name": "step", "epochs": np.array([1, 2])}
    assert (config.epochs, config.optimizer.learning_rate, config.schedule.epochs) == (
        3,
        0.5,
        (1, 2),
    )
    root = Path(__file__).resolve().parents[1]
    assert recipes.load(root / "hparams" / "digits_resnet.py").name.startswith("digits_resnet")


def test_a_number_in_an_array_is_a_number():
    lars = tflbt.optimizers.LARS(tf.constant(0.1), momentum=np.array(0.5))
    assert lars.get_config()["momentum"] == 0.5
    assert schedules.CosineDecay(tf.constant(3)).epochs == 3
    for wrong in (np.array(0.5), tf.Variable(3), np.array("3")):
        with pytest.raises(ValueError, match="^max_ranks="):
            tflbt.callbacks.ElasticRanks(wrong)
