"""The figures that a command line asks for are files, and what is missing is named."""

from __future__ import annotations

from tflbt import report_run


def test_the_command_draws_curves_sweep_and_ladder(sweep_runs, tmp_path, capsys):
    words, names = ["report_run", *sweep_runs[3:5]], ("curves", "sweep", "ladder")
    folders = {name: str(tmp_path / "figures" / name) for name in names}
    assert report_run.main(words, columns=["val_accuracy"], over="sample", **folders) == 0
    paths = [f"{folder}/{name}_val_accuracy.png" for name, folder in folders.items()]
    assert capsys.readouterr().out.splitlines()[-3:] == paths
    for name in names:
        assert (tmp_path / "figures" / name / f"{name}_val_accuracy.svg").stat().st_size > 1000


def test_a_missing_column_or_folder_is_named(make_run, tmp_path, capsys):
    words = ["report_run", make_run("lars", 64, 0.9)]
    assert report_run.main(words, curves=str(tmp_path / "figures"), columns=["margin"]) == 1
    assert "columns='margin': none of these runs" in capsys.readouterr().err
    assert report_run.main(words, columns=["margin"]) == 2
    assert "--curves=FOLDER" in capsys.readouterr().err
