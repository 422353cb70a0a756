"""Every module has a test of its name, or stands here with the reason; vague words are no names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "tflbt").rglob("*.py"))
TESTS = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
# Modules without a test of their name, by the tests that hold them instead.
HELD_BY = {
    "analysis/test_regimes.py": ["analysis/regime_line"],
    "benchmarks/test_benchmarks.py runs every benchmark": [
        *("benchmarks/augmentation", "benchmarks/batch_growth", "benchmarks/optimizer_memory"),
        *("benchmarks/device", "benchmarks/elastic", "benchmarks/fits", "benchmarks/load"),
        *(
            "benchmarks/side_by_side",
            "benchmarks/jpeg",
            "benchmarks/start",
            "benchmarks/wire",
            "benchmarks/bare_keras",
        ),
    ],
    "the tests of the three callbacks that are derived from it": ["callbacks/batch_size"],
    "callbacks/test_callback_states.py": ["callbacks/states/watched"],
    "training/interruption/test_interruption.py": [
        *("callbacks/states/within_epoch", "training/interruption/position"),
    ],
    "curvature/test_output_layer.py, test_blocks.py, test_held_fixed.py against dense Hessians": [
        *("curvature/block", "curvature/hessian_of", "curvature/selection"),
        *("curvature/whole_model", "curvature/layer_graph", "curvature/result"),
    ],
    "curvature/test_measures.py": ["curvature/hutchinson", "curvature/spectrum"],
    "data/sets/test_image_folder.py and test_image_records.py": ["data/sets/stored_images"],
    "distributed/test_comm.py and ranks/test_comm.py": ["distributed/devices"],
    "doctor/test_doctor.py": ["doctor/machine"],
    "doctor/test_diagnosis.py": ["doctor/facts"],
    "the tests of the networks that are made of them": ["models/parts", "models/text_layers"],
    "optimizers/test_contract.py and the tests of the optimizers that are derived from it": [
        *("optimizers/adam_update", "optimizers/base", "optimizers/borrowed"),
        *("optimizers/inner_update", "optimizers/momentum_step", "optimizers/radius"),
        "optimizers/turns",
    ],
    "test_tune.py": ["recipes/compare"],
    "recipes/test_sections.py": ["recipes/parts"],
    "launch/test_relaunch.py": ["recipes/batch"],
    "recipes/test_build.py and ranks/test_train.py": ["recipes/run"],
    "hparams/test_adaptive_recipes.py": ["recipes/strategies"],
    "schedules/test_contract.py and test_warmup_and_decay.py": [
        *("schedules/cosine", "schedules/curve", "schedules/cyclical"),
        *("schedules/polynomial", "schedules/step"),
    ],
    "ranks/test_metrics.py": ["training/ranks/metric_merging"],
    "ranks/test_disagree.py, test_equal.py and test_state.py": [
        *(
            "training/ranks/layer_states",
            "training/ranks/same_on_ranks",
            "training/ranks/single_batches",
        ),
    ],
    "training/test_update.py, test_large_batch_model.py and rules/test_small_loss.py": [
        *("training/evaluation", "training/keras_loop", "training/update_state"),
        *("training/preparation", "training/split_batch", "training/whole_update"),
    ],
    "training/test_fit_data.py": [
        *(
            "training/sources/batches",
            "training/sources/rank_data",
            "training/sources/whole_arrays",
        ),
    ],
    "test_arguments.py": ["training/sources/fit_arguments"],
    "the tests of the rules that measure": ["training/rules/gradient_statistics"],
    "training/conversion/test_overrides.py and test_saving.py": ["training/conversion/from_keras"],
    "training/test_split_check.py, test_batch_wise.py and ranks/test_metrics.py": [
        *("training/ranks/batch_parts", "training/ranks/probe"),
        *("training/ranks/loss_in_parts", "training/ranks/metrics_in_parts"),
    ],
    "tuning/test_winner.py": ["recipes/stored"],
    "tuning/test_space.py": ["tuning/space_check", "tuning/values"],
}
VAGUE = {"one", "told", "held", "given", "made", "asked", "kept"}


def test_modules_have_a_test_of_their_name_or_a_reason():
    modules = {str(path.relative_to(ROOT / "tflbt").with_suffix("")) for path in FILES}
    named = {name for name in modules if Path(name).name in ("__init__", "__main__")}
    held = {name for names in HELD_BY.values() for name in names}
    without = {name for name in modules - named if f"test_{Path(name).name}" not in TESTS}
    assert without - held == set(), "these want a test of their name, or a reason here"
    assert held - without == set(), "these have a test now, or are gone"


def identifiers(path: Path) -> set[str]:
    """The names that a file gives: variables, arguments, attributes and functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name
)
def test_names_say_what_they_are(folder):
    vague = {path.name: identifiers(path) & VAGUE for path in folder.glob("*.py")}
    assert not {name: words for name, words in vague.items() if words}
