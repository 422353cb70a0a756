"""Private names of Keras and TensorFlow are used in two files only: a port to another Keras begins there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "tflbt").rglob("*.py"))
ROOMS = ("training/keras_internals.py", "optimizers/keras_slots.py")
# Where else they are used, and why there is no public way.
ALLOWED: dict[str, tuple[str, set[str]]] = {
    "benchmarks/device.py": ("all that the host reads goes through it", {"_numpy"}),
    "curvature/products.py": (
        "the second backward pass again and again, without a persistent tape's zeros",
        {"_call_flat", "_delayed_rewrite_functions"},
    ),
    "curvature/total_loss.py": (
        "loss_weights as compile got them; masks of outputs",
        {"_user_loss_weights", "_keras_mask"},
    ),
    "curvature/whole_model.py": ("a layer's precision cannot be changed", {"_set_dtype_policy"}),
    "data/user_functions.py": ("how Keras has users' functions converted", {"__internal__"}),
    "distributed/activity.py": ("where the main thread is, as documented", {"_current_frames"}),
    "distributed/elastic_driver.py": ("the hosts of Horovod's elastic driver", {"_host_manager"}),
    "distributed/wrapped_optimizer.py": ("Horovod does not tell what it wraps", {"_local_vars"}),
    "legacy_keras.py": ("tf_keras cannot draw seeds on Python 3.12", {"_create_seed"}),
    "tuning/left_graphs.py": (
        "graphs of ended trials are freed",
        {"__internal__", "_function_captures", "_functions"},
    ),
    "tuning/oracle.py": (
        "KerasTuner's oracles, without their files",
        {
            *("_duplicate", "_populate_next", "_random_populate_space", "_random_state"),
            *("_save_trial", "_seed_state", "_vectorize_trials"),
        },
    ),
}
# Private names that mean something to Keras or TensorFlow also as `self._name` in a class derived from theirs.
THEIRS = {
    "_allreduce_grads",
    "_apply_weight_decay",
    "_assert_compile_was_called",
    "_autocast",
    "_build_learning_rate",
    "_compile_config",
    "_compute_current_learning_rate",
    "_create_all_weights",
    "_current_learning_rate",
    "_distribution_strategy",
    "_eval_data_handler",
    "_exclude_from_weight_decay",
    "_exclude_from_weight_decay_names",
    "_flatten_layers",
    "_function_captures",
    "_functions",
    "_generator",
    "_get_training_value",
    "_hyper",
    "_index_dict",
    "_is_compiled",
    "_iterations",
    "_keras_mask",
    "_list_all_concrete_functions",
    "_local_vars",
    "_loss_scale",
    "_momentums",
    "_param_dtype",
    "_random_generator",
    "_serialize_hyperparameter",
    "_set_dtype_policy",
    "_steps_per_execution",
    "_supports_tf_logs",
    "_test_counter",
    "_train_counter",
    "_use_weight_decay",
    "_user_loss_weights",
    "_var_key",
    "_velocities",
}
PRIVATE = re.compile(r"_(?!tflbt_)[a-z]\w*")  # what tflbt pins on an object of Keras has its name


def defined(tree: ast.AST) -> set[str]:
    """Private names that a file defines: methods, attributes of classes, and `self._name = ...`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and on_self(node):
            names.add(node.attr)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "__setattr__":
            names |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return names


def on_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def used(tree: ast.AST) -> list[tuple[str, bool]]:
    """Private names that a file uses as attributes, also by `getattr`, and whether as `self._name`."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if getattr(node.value, "id", "") != "os":  # os._exit is documented
                names.append((node.attr, on_self(node)))
        elif isinstance(node, ast.FunctionDef):  # an override
            names += [(node.name, True)] if node.name in THEIRS else []
        elif isinstance(node, ast.Assign):  # of a class's attribute
            names += [(t.id, True) for t in node.targets if isinstance(t, ast.Name)]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("attr"):
            constants = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant)]
            names += [(str(name), False) for name in constants]
    return [(name, own) for name, own in names if PRIVATE.fullmatch(name)]


TREES = {path: ast.parse(path.read_text()) for path in FILES}
OURS = set().union(*(defined(tree) for tree in TREES.values()))


def foreign(path: Path) -> set[str]:
    """The private names of others that a file uses."""
    tree = TREES[path]
    here = set().union(*(defined(TREES[other]) for other in FILES if other.parent == path.parent))
    names = {
        name for name, own in used(tree) if name in THEIRS or name not in (OURS if own else here)
    }
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    }
    names |= {name for name in modules if name.startswith(("tensorflow.python", "keras.src"))}
    if any(isinstance(n, ast.Attribute) and n.attr == "__internal__" for n in ast.walk(tree)):
        names.add("__internal__")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_of_others_have_one_room(path):
    place = str(path.relative_to(ROOT / "tflbt"))
    if place in ROOMS:
        return
    allowed = ALLOWED.get(place, ("", set()))[1]
    assert not foreign(path) - allowed, (
        f"{place} uses private names: find a public way, or put it into tflbt/{' or tflbt/'.join(ROOMS)}"
    )
    assert not allowed - foreign(path), f"{place} no longer uses all that is allowed to it"


def test_the_walk_finds_what_there_is():
    rooms = [ROOT / "tflbt" / room for room in ROOMS]
    assert {"_steps_per_execution", "_hyper", "_generator", "__internal__"} <= foreign(rooms[0])
