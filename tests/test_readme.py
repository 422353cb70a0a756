"""The code and the commands of the README and of docs/ run as they stand there, and the paths they name exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import ml_collections
import pytest

from tests.documents import DOCUMENTS, HOROVOD_SCRIPT, README, ROOT, accuracy, blocks, run, train_py
from tflbt import recipes
from tflbt.report import RunDirectory, figure_style

DEMO = str(ROOT / "hparams" / "digits_resnet.py:two_phase")
WITH_PYTHON = ("extending", "features", "your_script")


def is_recipe(name: str) -> bool:
    """Says whether a file's name, with or without a variant, is that of a recipe."""
    return (ROOT / "hparams" / name.partition(":")[0]).exists()


def flat(config: ml_collections.ConfigDict, prefix: str = "") -> list[str]:
    """Returns a configuration's keys with dots between the levels."""
    return [
        name
        for key, value in config.items()
        for name in (
            flat(value, f"{prefix}{key}.")
            if isinstance(value, ml_collections.ConfigDict)
            else [f"{prefix}{key}"]
        )
    ]


def test_the_readme_is_a_screen_and_a_half() -> None:
    """Longer explanations belong to docs/."""
    assert len(README.read_text().splitlines()) <= 95


def test_script_is_short_enough_to_read() -> None:
    """About 25 lines, as promised; the count leaves out blank ones."""
    assert sum(bool(line.strip()) for line in train_py().splitlines()) <= 28


@pytest.mark.parametrize("side", ["-", "+"])
def test_both_sides_of_the_diff_run(
    side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plain Keras script before the change, and the script with tflbt after it."""
    (diff,) = blocks(README, "diff")
    lines = [line[1:] for line in diff.splitlines() if line[:1] in (" ", side, "")]
    monkeypatch.chdir(tmp_path)
    run("\n".join(lines), tmp_path)
    assert "Epoch 10/10" in capsys.readouterr().out


def test_the_diff_has_three_changes() -> None:
    """As the heading says: the import with its start, the class, the call of fit."""
    (diff,) = blocks(README, "diff")
    signs = "".join(line[:1] or " " for line in diff.splitlines())
    assert signs.count("-") == 2
    assert signs.count("+") == 4


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_the_python_of_a_document_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its blocks one after another, those of many epochs with one; train.py among them at its full length."""
    code = "\n".join(blocks(ROOT / "docs" / f"{name}.md", "python"))
    monkeypatch.chdir(tmp_path)
    run(re.sub(r"epochs=(90|164)\b", "epochs=1", code), tmp_path)
    assert "AutoGraph" not in caplog.text
    if name == "your_script":
        assert accuracy(capsys.readouterr().out) > 0.9
        assert (tmp_path / "plain.keras").exists()


def test_every_document_with_python_is_tried() -> None:
    """No code without a test."""
    with_code = {document.stem for document in DOCUMENTS if blocks(document, "python")}
    assert with_code == set(WITH_PYTHON)


def test_the_horovod_script_differs_by_its_class_alone() -> None:
    """It names tflbt in the import and in the line that names the old class."""
    lines = [line for line in HOROVOD_SCRIPT.read_text().splitlines() if "tflbt" in line]
    assert len(lines) == 2
    assert lines[0] == "import tflbt"
    assert lines[1].endswith("# was: tf.keras.Model(inputs, outputs)")


def test_the_command_that_trains_a_recipe_is_the_demonstrations() -> None:
    """The line of docs/recipes.md, but for the folder; tests/launch/test_demo.py runs it."""
    text = (ROOT / "docs" / "recipes.md").read_text()
    (line,) = re.findall(r"^launch/local\.sh 2 --config=.*$", text, re.MULTILINE)
    line = line.replace("--workdir=runs/first", '--workdir="$run" "$@"')
    assert line in (ROOT / "launch" / "demo.sh").read_text().splitlines()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_the_recipes_that_a_document_names_load_and_have_the_keys_that_it_sets(
    document: Path,
) -> None:
    """Each `hparams/FILE.py:VARIANT`, or FILE.py where a variable stands for the variant; each `--config.KEY=`."""
    text = document.read_text()
    named = set(re.findall(r"(?:hparams/|`)([a-z]\w+\.py(?::[a-z]\w*(?![\w$]))?)", text))
    configs = [recipes.load(str(ROOT / "hparams" / name)) for name in named if is_recipe(name)]
    keys = {key for config in (*configs, recipes.load(DEMO)) for key in flat(config)}
    assert set(re.findall(r"--config\.([\w.]+)=", text)) <= keys


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    """Paths in backticks from the project's root, and links from the document's folder."""
    text = document.read_text()
    folders = "tflbt|hparams|mpi|launch|tests|docs"
    named = {ROOT / path for path in re.findall(rf"`((?:{folders})/[\w/.]*)[` :]", text)}
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|srcset=\"(.*?)\"|src=\"(.*?)\"", text)
    named |= {document.parent / "".join(link) for link in links}
    assert not {path for path in named if not path.exists()}
    assert document != README or len(links) > 10


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_the_modules_that_a_document_runs_exist(document: Path) -> None:
    """Each `python -m tflbt.NAME`."""
    for name in set(re.findall(r"python -m tflbt\.(\w+(?:\.\w+)*)", document.read_text())):
        path = ROOT / "tflbt" / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_the_picture_can_be_drawn_again(tmp_path: Path) -> None:
    """A light and a dark one, small enough for a page; the reports' colours are as before."""
    columns = ("loss", "accuracy", "val_accuracy", "learning_rate", "eigenvalue")
    metrics = RunDirectory(tmp_path).metrics
    for epoch in range(1, 4):
        metrics.append({"epoch": epoch, **dict.fromkeys(columns, 0.5), "phase": "exploration"})
    before = dict(figure_style.COLOURS)
    draw = runpy.run_path(str(ROOT / "docs" / "figures" / "draw.py"))
    draw["main"](str(tmp_path), tmp_path)
    assert (tmp_path / "run_light.png").read_bytes() != (tmp_path / "run_dark.png").read_bytes()
    assert before == figure_style.COLOURS
    for picture in (ROOT / "docs" / "figures").glob("*.png"):
        assert picture.stat().st_size < 100 * 1024
