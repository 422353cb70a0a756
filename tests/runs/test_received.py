"""A directory that somebody sent changes nothing outside itself, and cannot fill the memory or hang a reader."""

from __future__ import annotations

import json
import os
import tracemalloc

import pytest

from tflbt import report
from tflbt.callbacks import RunLog
from tflbt.runs import received
from tflbt.runs.directory_lock import hold
from tflbt.runs.journal import Journal
from tflbt.runs.metrics import MetricsTable
from tflbt.runs.run_directory import RunDirectory
from tflbt.tuning.hparams_log import HParamsLog
from tflbt.tuning.search_directory import SearchDirectory

MINE = "three years of work\n"


@pytest.fixture
def outside(tmp_path):
    """A folder of the user's with a file, which nothing may change."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text(MINE)
    (folder / "loss.png").write_text(MINE)
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["loss.png", "thesis.txt"]
    assert {path.read_text() for path in folder.iterdir()} == {MINE}


def sent_run(folder):
    """A run directory of one epoch."""
    folder.mkdir()
    name = "digits\nssh-ed25519 AAAA somebody"
    (folder / "config.json").write_text(json.dumps({"name": name}))
    (folder / "metrics.csv").write_text("epoch,loss\n1,0.5\n")
    return folder


def sent_search(folder):
    """A search directory of one trial."""
    folder.mkdir()
    about = {"objective": "loss", "direction": "min"}
    (folder / "search.json").write_text(json.dumps(about))
    (folder / "trials.csv").write_text("trial,status,objective\n1,completed,0.5\n")
    return folder


def try_all(folder, kind):
    """All that writes into a run or search directory; what was refused."""
    refused = []
    actions = {
        "run": (report.write, RunDirectory.open, lambda f: RunDirectory.create(f, {})),
        "search": (report.write_search, SearchDirectory.open, lambda f: SearchDirectory.create(f, {})),
    }  # fmt: skip
    for action in actions[kind]:
        try:
            action(folder)
        except (ValueError, OSError) as error:
            refused.append(str(error))
    return refused


RUN_FILES = (".report.html.partial", "report.html", "metrics.csv", ".metrics.csv.partial", ".lock")
RUN_FOLDERS = ("figures", "tensorboard", "checkpoints")


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_link_in_a_files_place_is_not_followed(name, outside, tmp_path):
    run, search = sent_run(tmp_path / "run"), sent_search(tmp_path / "search")
    for folder, kind in ((run, "run"), (search, "search")):
        (folder / name).unlink(missing_ok=True)
        os.symlink(outside / "thesis.txt", folder / name)
        try_all(folder, kind)
    Journal(search / "journal.jsonl").append({"event": "begin"})


@pytest.mark.parametrize("name", [*RUN_FOLDERS, "figures/deep", "tensorboard/x", "checkpoints/e"])
def test_a_folder_that_leads_out_is_refused_by_its_name(name, outside, tmp_path):
    run = sent_run(tmp_path / "run")
    (run / name).parent.mkdir(exist_ok=True)
    os.symlink(outside, run / name)
    refused = try_all(run, "run")
    assert sum(f"{run / name} is a symbolic link that leads out" in each for each in refused) == 2
    log = RunLog(run, verbose=0)
    with pytest.raises(ValueError, match="leads out"):
        log._start(1)


@pytest.mark.parametrize("name", ["figures", "tensorboard", "trials", "trials/0001", "best.json"])
def test_a_search_is_no_different(name, outside, tmp_path):
    search = sent_search(tmp_path / "search")
    (search / name).parent.mkdir(exist_ok=True)
    os.symlink(outside, search / name)
    with pytest.raises(ValueError, match="leads out"):
        SearchDirectory.open(search)
    try_all(search, "search")


def test_links_within_the_directory_and_of_others_names_are_fine(outside, tmp_path):
    run = sent_run(tmp_path / "run")
    (run / "pictures").mkdir()
    os.symlink("pictures", run / "figures")
    os.symlink(outside, run / "data")
    os.symlink(run, tmp_path / "latest")
    report.write(tmp_path / "latest")
    RunDirectory.open(tmp_path / "latest")
    assert (run / "pictures" / "loss.png").exists()


def test_a_journal_and_events_do_not_follow_links(outside, tmp_path):
    os.symlink(outside / "thesis.txt", tmp_path / "journal.jsonl")
    with pytest.raises(OSError, match="journal.jsonl"):
        Journal(tmp_path / "journal.jsonl").append({"event": "begin"})
    os.symlink(outside / "thesis.txt", tmp_path / "events.out.tfevents.0.tflbt")
    space = type("Space", (), {"space": ()})
    HParamsLog(tmp_path, space, "loss").add(1, {}, {"loss": 0.5}, "completed")


def test_what_has_another_name_elsewhere_changes_here_alone(outside, tmp_path):
    """Hard links, as in a copy by `cp -al`, or to somebody's own file."""
    row = {"epoch": 1, "loss": 0.5}
    run, copy = tmp_path / "run", tmp_path / "copy"
    copy.mkdir()
    place = RunDirectory.create(run, {"epochs": 3})
    place.metrics.append(row)
    Journal(run / "journal.jsonl").append({"event": "begin"})
    for name in ("metrics.csv", "journal.jsonl"):
        os.link(run / name, copy / name)
    place.metrics.append({**row, "epoch": 2})
    Journal(run / "journal.jsonl").append({"event": "end"})
    assert len(place.metrics.read()) == len(Journal(run / "journal.jsonl").events()) == 2
    assert len(MetricsTable(copy / "metrics.csv").read()) == 1
    assert len(Journal(copy / "journal.jsonl").events()) == 1
    os.link(outside / "thesis.txt", copy / ".lock")
    lock = hold(copy)
    del lock


def reading(path):
    """Reads it as what it is named for; the most memory that took."""
    tracemalloc.start()
    try:
        if path.suffix == ".csv":
            MetricsTable(path).read()
        elif path.suffix == ".jsonl":
            Journal(path).events()
        else:
            received.read_json(path)
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


TOO_MUCH = {
    "nested.json": b'{"a": ' + b"[" * 100_000,
    "nested_less.json": b'{"a": ' + b'{"a": ' * 900 + b"1" + b"}" * 901,
    "nested.jsonl": b'{"event": ' + b"[" * 100_000 + b"\n",
    "wide.csv": b"epoch" + b",a" * 20_000 + b"\n",
    "field.csv": b"epoch,a\n1," + b"x" * 200_000 + b"\n",
    "binary.json": b"\xff\xfe\x00",
    "word.csv": b"epoch,loss\n1,0.5\nsix,0.4\n7,0.3\n",
    "infinite.csv": b"epoch,loss\ninf,0.4\n7,0.3\n",
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_deep_or_wide_is_named(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(TOO_MUCH[name])
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
        reading(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["huge.csv", "huge.json", "huge.jsonl"])
def test_a_terabyte_is_not_read(name, tmp_path):
    path = tmp_path / name
    path.touch()
    os.truncate(path, 2**40)  # a hole: it takes no disk
    with pytest.raises(ValueError, match=rf"{name} is damaged: it has more than"):
        received.read(path, 2**16) if name == "huge.jsonl" else received.read(path, 2**20)


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.json", "pipe.jsonl"])
def test_a_pipe_is_not_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=rf"no regular file: '.*{name}'"):
        reading(tmp_path / name)


def test_numbers_beyond_all_bounds_are_numbers(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(f"epoch,loss,accuracy\n1,{'9' * 400},-{'9' * 30}\n")
    assert MetricsTable(path).read() == [{"epoch": 1, "loss": float("inf"), "accuracy": -1e30}]


def test_a_spreadsheets_mark_and_pandas_epochs_are_read(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"\xef\xbb\xbfepoch,loss\r\n1.0,0.5\r\n2.0,0.4\r\n")
    table = MetricsTable(path)
    assert table.truncate(1) == 1 and table.read() == [{"epoch": 1.0, "loss": 0.5}]
    path.write_text("loss\n0.5\n")
    with pytest.raises(ValueError, match="line 2, has no epoch"):
        table.truncate(1)


@pytest.mark.parametrize(
    ("path", "says"),
    [("", "is empty: name a dir"), (" ", "is empty: name a dir"), ("a\0b", "has a NUL character")],
)
def test_an_empty_or_impossible_path_is_no_place(path, says):
    for kind in (RunDirectory, SearchDirectory, RunLog, report.write, report.write_search):
        with pytest.raises(ValueError, match=says):
            kind(path)


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert received.place("~/runs/a") == tmp_path / "runs" / "a"
    assert RunDirectory("~").path == tmp_path
    assert received.place("a~b/~").parts == ("a~b", "~")
