#!/usr/bin/env bash
# launch/horovodrun.sh: starts ranks over Gloo, Horovod's own transport, on this machine or on several hosts by ssh.
#
# Usage: launch/horovodrun.sh -np N [-H HOST:N,...|--hostfile FILE] [--elastic] [--dry-run] [command ...]
#        launch/horovodrun.sh -np 8 --hostfile hosts --config=hparams/cifar10_resnet20.py:two_phase_lars --workdir=DIR
#   -np N             the total number of ranks (default: all that the hosts take)
#   -H HOST:N,...     the hosts and the ranks on each (default: this machine)
#   --hostfile FILE   the same from a file, as mpi/hostfile.example
#   --network-interface NAME   the interface that joins the hosts, where it has the same name on all of them (default:
#                     on each host the one through which it reaches the others)
#   -p PORT, -i FILE  the port and the key for ssh
#   -x NAME[=VALUE]   a variable for the ranks, which have all others too
#   --elastic         start it again, with as many ranks as its batch wants and the hosts take, where it asks for that
#                     (docs/elastic.md); N is the number at the beginning
#   --restarts K, --checkpoints DIR   and K times after failures; where a script of your own writes its checkpoints
#   --dry-run         print the command instead of running it
#   --help            this text
# All of horovodrun's own options: python -m tflbt.distributed.horovodrun --help. Without a command, the words are flags
# of python -m tflbt.train. The project's .venv is used if no environment is active.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/relaunch.sh
. "$launch_root/launch/relaunch.sh"

read_options "$@"
[ "$controller" != mpi ] || fail "--mpi: use launch/mpirun.sh, with the same words"
use_environment
read_hosts
[ -n "$ranks" ] || fail "how many ranks? -np N (see --help)"
[ ${#mpi_options[@]} = 0 ] || fail "${mpi_options[1]} is a setting of Open MPI: use launch/mpirun.sh"
if_elastic TERM
rank_command "${rest[@]}"
print_or_run "$dry_run" python -m tflbt.distributed.horovodrun -np "$ranks" --gloo ${host_list:+-H "$host_list"} \
  ${interface:+--network-interface "$interface"} "${ssh[@]}" "${rank_words[@]}"
