"""launch/elastic.sh's job with its processes in Ray's actors: Ray places them, and its autoscaler sees those that wait.

python launch/ray_cluster.py --max-ranks 4 -- python train.py
python launch/ray_cluster.py --max-ranks 16 --ray-address auto --gpus-per-rank 1 --interface eth0 -- python train.py

Without --ray-address it starts a Ray of its own on this machine. It needs the extra: pip install 'tflbt[ray]'.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time

import ray

from tflbt.distributed.elastic_driver import Seat
from tflbt.elastic import launcher
from tflbt.elastic.launcher import FORWARDED, Process, environment_of, launch

POLL = 0.05


class Owner:
    """The actor: owns a training process on the node on which Ray has put it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = Process(command, {**os.environ, **environment})

    def await_ready(self) -> bool:
        """Returns when the process waits for its place, or has ended."""
        while not self._process.ready and self._process.poll() is None:
            time.sleep(POLL)
        return self._process.ready

    def await_end(self) -> int:
        """Returns its exit status."""
        while (status := self._process.poll()) is None:
            time.sleep(POLL)
        return status

    def place(self, environment: dict[str, str]) -> None:
        """Gives it its place."""
        self._process.place(environment)

    def ask(self) -> None:
        """Has it say that it is alive."""
        self._process.ask()

    def stop(self, at_once: bool) -> None:
        """Ends it."""
        self._process.stop(at_once=at_once)


class RayProcess:
    """A process in an actor, as the launcher sees it; a lost node is a killed process."""

    def __init__(
        self, command: list[str], environment: dict[str, str], needs: dict[str, float]
    ) -> None:
        remote = ray.remote(max_concurrency=4, max_restarts=0, **needs)(Owner)
        self._actor = remote.remote(command, environment)
        self.ready, self._status = False, None
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        try:
            self.ready = ray.get(self._actor.await_ready.remote())
            self._status = ray.get(self._actor.await_end.remote())
        except ray.exceptions.RayError:
            self._status = 137
        self.ready = False

    def place(self, environment: dict[str, str]) -> None:
        """Gives it its place."""
        self.ready = False
        self._actor.place.remote(environment)

    def ask(self) -> None:
        """Has it say that it is alive."""
        self._actor.ask.remote()

    def is_stopped(self) -> None:
        """Cannot be seen from here."""

    def poll(self) -> int | None:
        """Its exit status."""
        return self._status

    def stop(self, *, at_once: bool = False) -> None:
        """Ends it, and its actor."""
        if self._status is not None:
            return
        self._actor.stop.remote(at_once)
        if at_once:
            ray.kill(self._actor)


def main() -> int:
    """Launches what the command line says."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--ray-address", help="a running cluster (auto); default a local one")
    own.add_argument("--cpus-per-rank", type=float, default=1)
    own.add_argument("--gpus-per-rank", type=float, default=0)
    words = sys.argv[1:]
    before = words.index("--") if "--" in words else len(words)
    ours, others = own.parse_known_args(words[:before])
    options = launcher.arguments([*others, *words[before:]])
    local = ours.ray_address is None
    places = options.max_ranks + options.standby
    if local:
        ray.init(
            num_cpus=max(1, round(places * ours.cpus_per_rank)),
            include_dashboard=False,
            log_to_driver=True,
            _node_ip_address="127.0.0.1",
        )
    else:
        ray.init(address=ours.ray_address)
        options.address = options.address or ray.util.get_node_ip_address()
    needs = {"num_cpus": ours.cpus_per_rank, "num_gpus": ours.gpus_per_rank}
    passed = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
    threads = str(max(1, int(ours.cpus_per_rank)))

    def start(seat: Seat, place: dict[str, str] | None) -> RayProcess:
        # Ray shows an actor its own GPU alone, so each process is the only one on its seat.
        environment = {
            **passed,
            "TF_NUM_INTRAOP_THREADS": threads,
            **environment_of(Seat("ray", 0, 1), place, options),
        }
        return RayProcess(options.command, environment, needs)

    seats = [Seat("ray", number, places) for number in range(places)]
    return launch(options, lambda: seats, start, local)


if __name__ == "__main__":
    sys.exit(main())
