"""`python -m tflbt.tune` on two ranks: a failure on one of them ends a trial only; killed and resumed equals not."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest

import tflbt.train
import tflbt.tune
from tests.conftest import start_ranks
from tflbt import recipes

TESTS = Path(__file__).resolve().parent
RECIPE = TESTS.parent / "hparams" / "digits_resnet.py"
SPACE = TESTS.parent / "hparams" / "spaces" / "default.py"


def rows(search: Path) -> list[dict[str, str]]:
    """The rows of trials.csv without the column of time."""
    with (search / "trials.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def events(search: Path) -> list[dict]:
    return [json.loads(line) for line in (search / "journal.jsonl").read_text().splitlines()]


def flags(search: Path, *more: str) -> list[str]:
    return [
        f"--config={RECIPE}:lars",
        f"--space={SPACE}",
        f"--workdir={search}",
        "--config.model.name=logistic_regression",
        "--config.epochs=3",
        "--config.warmup.epochs=0.5",
        *more,
    ]


@dataclasses.dataclass
class Searches:
    """What two starts of two ranks leave: each searches twice."""

    whole: Path  # trials 1 and 2 fail on rank 1 alone, in different places
    killed: Path  # likewise, and the job is killed in trial 3, and resumed
    groups: Path  # each rank is a group of its own
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def searches(tmp_path_factory) -> Searches:
    folder = tmp_path_factory.mktemp("searches")
    whole, killed, groups = (folder / name for name in ("whole", "killed", "groups"))
    program, failures = TESTS / "tune_with_accident.py", "raise:1:1,raise:2:0"
    to_be_killed = ("AND", f"{failures},kill:3:2", f"workdir={killed}")
    words = flags(whole, "--max_trials=3", "--norecipe_first")
    first = start_ranks(program, folder, args=(failures, *words, *to_be_killed), check=False)
    assert rows(killed)[2]["status"] == "running", first.stdout
    resumed = ("AND", failures, f"workdir={killed}", "ranks_per_trial=", "resume=true")
    resumed = (*resumed, "max_trials=3", "recipe_first=false")
    words = flags(groups, "--max_trials=1", "--ranks_per_trial=1")
    second = start_ranks(program, folder, args=("", *words, *resumed))
    return Searches(whole, killed, groups, first, second)


@pytest.mark.ranks(2)
def test_one_ranks_failure_and_a_kill_cost_one_trial_and_nothing(searches):
    whole, killed = searches.whole, searches.killed
    first, second, third = rows(whole)
    assert [row["status"] for row in (first, second, third)] == ["failed", "failed", "completed"]
    assert first["message"] == second["message"] == "rank 1: OSError: an accident on rank 1"
    printed = searches.first.stdout
    assert "best: trial 3" in printed and f"--config={whole / 'best.json'}" in printed

    assert searches.first.returncode != 0
    assert "2 of 3 trials have ended, 1 will be continued" in searches.second.stdout
    assert rows(killed) == rows(whole)
    begun = [
        (event["trial"], event["epochs"]) for event in events(killed) if event["event"] == "begin"
    ]
    # It went on from a checkpoint: of the epoch before, or of this one where rank 0 was quicker than the signal.
    assert begun[:3] == [(1, 0), (2, 0), (3, 0)] and begun[3:] in ([(3, 1)], [(3, 2)])
    assert (killed / "best.json").read_text() == (whole / "best.json").read_text()
    assert (killed / "report.html").exists()


@pytest.mark.ranks(2)
def test_the_winner_trains_as_its_trial_did(searches, tmp_path):
    """What a trial of one rank gives, one process gives."""
    winner = tmp_path / "winner"
    baseline, trial = rows(searches.groups)
    assert baseline["optimizer.learning_rate"] == "1.0" and trial["trial"] == "1"
    assert "the recipe as it is: " in searches.second.stdout
    tflbt.train.train(recipes.load(str(searches.groups / "best.json")), winner)
    with (winner / "metrics.csv").open() as file:
        accuracies = [float(row["val_accuracy"]) for row in csv.DictReader(file)]
    # Where one process has more cores than a rank sums differ in their last digits, and with them a sample or two.
    assert max(accuracies) == pytest.approx(float(trial["objective"]), abs=0.02)


WRONG = {
    "key": ('hp.Float("optimizer.rate", 0.1, 1.0)', "optimizer.rate"),
    "range": ('hp.Float("optimizer.learning_rate", 1.0, 0.1)', "optimizer.learning_rate"),
    "beta": ('hp.Float("schedule.beta", 0.3, 1.5)', "schedule.beta"),
    "column": ('hp.Choice("epochs", [1, 2])', "column of trials.csv"),
    "nothing": ("None", "at least one hyper-parameter"),
}


def wrong_space(tmp_path, line):
    space = tmp_path / "space.py"
    lines = ("hp = keras_tuner.HyperParameters()", line, "return hp")
    space.write_text("import keras_tuner\ndef get_space(config):\n    " + "\n    ".join(lines))
    return space


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_space_is_refused_before_anything_is_written(case, tmp_path):
    line, says = WRONG[case]
    config, search = recipes.load(f"{RECIPE}:lars"), tmp_path / "search"
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        tflbt.tune.tune(config, str(wrong_space(tmp_path, line)), search, max_trials=2)
    assert "\n" not in str(error.value) and not search.exists()


def test_the_command_says_so_in_one_line(tmp_path, run_command):
    space = wrong_space(tmp_path, WRONG["beta"][0])
    words = (*flags(tmp_path / "search"), "--max_trials=2", f"--space={space}")
    done = run_command(["-m", "tflbt.tune", *words], tmp_path)
    assert done.returncode == 1 and not (tmp_path / "search").exists()
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    assert WRONG["beta"][1] in line and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("resume", "kind", "says"),
    [(False, FileExistsError, "holds a search"), (True, ValueError, "is another one")],
)
def test_the_directory_of_another_search_stays_as_it_is(tmp_path, resume, kind, says):
    search = tmp_path / "search"
    search.mkdir()
    (search / "search.json").write_text('{"seed": 7}\n')
    config = recipes.load(f"{RECIPE}:lars")
    with pytest.raises(kind, match=says):
        tflbt.tune.tune(config, str(SPACE), search, max_trials=2, resume=resume)
    assert [path.name for path in search.iterdir()] == ["search.json"]
    assert (search / "search.json").read_text() == '{"seed": 7}\n'


def test_a_search_without_end_is_refused(tmp_path):
    search = tmp_path / "search"
    with pytest.raises(ValueError, match="say how many trials"):
        tflbt.tune.tune(recipes.load(f"{RECIPE}:lars"), str(SPACE), search)
    assert not search.exists()


def test_recipes_are_compared_with_the_same_budget(tmp_path, capsys, run_command):
    directory = tmp_path / "comparison"
    words = flags(directory, "--max_trials=1", "--norecipe_first", "--seeds=2", "--config.epochs=1")
    words += ["--config.data.holdout=100", f"--compare={RECIPE}:large_batch"]
    done = run_command(["-m", "tflbt.tune", *words], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    with (directory / "comparison.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["name"], second["name"]) == (
        "digits_resnet:lars",
        "digits_resnet:large_batch",
    )
    assert first["trials"] == second["trials"] == "1" and (directory / "report.html").exists()
    run = directory / "digits_resnet-lars" / "seeds" / "2"
    config = json.loads((run / "config.json").read_text())
    assert config["seed"] == 2 and config["data"]["holdout"] == 0 and config["epochs"] == 1
    before = (run / "metrics.csv").stat().st_mtime_ns
    configs = [recipes.load(f"{RECIPE}:{variant}") for variant in ("lars", "large_batch")]
    values = {"epochs": 1, "warmup.epochs": 0.5, "data.holdout": 100}
    for config in configs:
        config.update_from_flattened_dict({"model.name": "logistic_regression", **values})
    options = {"max_trials": 1, "baseline": False, "resume": True}
    tflbt.tune.compare(configs, str(SPACE), directory, 2, **options)
    assert (run / "metrics.csv").stat().st_mtime_ns == before
    assert "trial 1 of" not in capsys.readouterr().out
