"""The elastic launcher's command line, its hosts file, and what it does where a job is lost."""

from __future__ import annotations

import subprocess

import pytest

from tflbt.elastic.launcher import (
    Hosts,
    Seat,
    across,
    arguments,
    environment_of,
    is_here,
    lost,
    main,
)


def test_a_hosts_file_is_read_again_and_survives_being_written(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("a slots=2\n# none\nb\n")
    hosts = Hosts(file, 1)
    assert hosts() == [Seat("a", 0, 2), Seat("a", 1, 2), Seat("b", 0, 1)]
    file.write_text("b:2")
    assert hosts() == [Seat("b", 0, 2), Seat("b", 1, 2)]
    file.write_text("b slots=")
    assert len(hosts()) == 2
    file.write_text("")
    assert len(hosts()) == 2
    file.write_text("b slots=x")
    assert len(hosts()) == 2  # as before
    file.unlink()
    assert len(hosts()) == 2
    file.write_text("a 1 2")
    with pytest.raises(ValueError, match="line 1: 'a 1 2' is not a host"):
        Hosts(file, 1)()
    assert Hosts(None, 3)() == [Seat("localhost", number, 3) for number in range(3)]


def test_arguments(capsys):
    found = arguments(["--max-ranks", "4", "--", "python", "train.py", "--log"])
    assert (found.command, found.min_ranks, found.standby) == (
        ["python", "train.py", "--log"],
        1,
        1,
    )
    for words, message in (
        (["--max-ranks", "2"], "a command is missing"),
        (["--max-ranks", "2", "--min-ranks", "3", "--", "true"], "1 <= min <= max"),
        (["--max-ranks", "2", "--standby", "-1", "--", "true"], "must be at least 0"),
    ):
        with pytest.raises(SystemExit):
            arguments(words)
        assert message in capsys.readouterr().err


def test_ranks_of_several_hosts_connect_on_the_network_that_joins_them(capsys):
    """Horovod's Gloo would take the address of each host's name, and end by a signal where that is not known."""
    options = arguments(["--max-ranks", "2", "--interface", "lo", "--", "python", "train.py"])
    across(options, ["a", "b"])
    assert options.address == "127.0.0.1"
    chosen = ["--hosts", "a:1,b:1", "--interface", "lo", "--run", "python", "train.py"]
    assert options.command[3:] == chosen
    assert subprocess.run([*options.command[:-2], "true"]).returncode == 0
    assert main(["--max-ranks", "1", "--interface", "none", "--", "true"]) == 2
    assert "tflbt: --interface 'none'; this machine has lo" in capsys.readouterr().err


def test_what_processes_get_and_which_ends_are_losses():
    options = arguments(["--max-ranks", "4", "--", "true"])
    waits = environment_of(Seat("a", 1, 2), None, options)
    assert waits["TFLBT_ELASTIC_SEAT"] == "1/2" and waits["TFLBT_ELASTIC_STANDBY"] == "1"
    options.resume = True
    placed = environment_of(Seat("a", 1, 2), {"HOROVOD_RANK": "0"}, options)
    assert placed["TFLBT_ELASTIC_RESUME"] == "1" and "TFLBT_ELASTIC_STANDBY" not in placed
    assert lost([1, -6]) and lost([75]) and lost([137]) and not lost([1, 2])
    assert is_here("localhost") and is_here("127.0.0.2") and not is_here("elsewhere")
