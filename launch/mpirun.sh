#!/usr/bin/env bash
# launch/mpirun.sh: starts ranks with mpirun itself, on this machine or on several hosts.
#
# Usage: launch/mpirun.sh -np N [-H HOST:N,...|--hostfile FILE] [--elastic] [--dry-run] [command ...]
#        launch/mpirun.sh -np 8 --hostfile hosts --config=hparams/cifar10_resnet20.py:two_phase_lars --workdir=DIR
#   -np N             the total number of ranks (default: all that the hosts take)
#   -H HOST:N,...     the hosts and the ranks on each (default: this machine, or what the batch system has allocated)
#   --hostfile FILE   the same from a file, as mpi/hostfile.example
#   --network-interface NAME   the interface that joins the hosts, where it has the same name on all of them (default:
#                     the network through which this machine reaches them)
#   -x NAME[=VALUE]   one more variable for all hosts; HOROVOD_*, TF_*, NCCL_*, OMP_*, TFLBT_*, CUDA_*, XLA_*, PYTHON*
#                     and PATH are handed on anyway
#   -mca NAME VALUE   a setting of Open MPI
#   -p PORT, -i FILE  the port and the key for ssh
#   --elastic         start it again, with as many ranks as its batch wants and the hosts take, where it asks for that
#                     (docs/elastic.md); N is the number at the beginning
#   --restarts K, --checkpoints DIR   and K times after failures; where a script of your own writes its checkpoints
#   --dry-run         print the command instead of running it
#   --help            this text
# The flags are those that Horovod's guide to mpirun recommends (-bind-to none -map-by slot, and -x to pass
# the environment on); other settings are in mpi/mca-params.conf. Without a command, the words are
# flags of python -m tflbt.train. The project's .venv is used if no environment is active.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/relaunch.sh
. "$launch_root/launch/relaunch.sh"

read_options "$@"
[ "$controller" != gloo ] || fail "--gloo: use launch/horovodrun.sh, with the same words"
use_environment
read_hosts
need_number "-np" "$ranks"
if_elastic USR1
rank_command "${rest[@]}"
use_mpi_settings
run_mpi
