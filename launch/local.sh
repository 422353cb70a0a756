#!/usr/bin/env bash
# launch/local.sh: starts N ranks on this machine, with every socket on its loopback interface.
#
# Usage: launch/local.sh [--gloo|--mpi] [--elastic] [--dry-run] N [command ...]
#        launch/local.sh 2 --config=hparams/digits_resnet.py:two_phase_lars --workdir=runs/first
#        launch/local.sh 2 python my_train.py
#   --gloo      Horovod's own transport (default)
#   --mpi       Open MPI, with the settings of mpi/mca-params.conf
#   -np N, -n N, --num-proc N           the number of ranks, as for mpirun and horovodrun
#   -H localhost:N, --hostfile FILE     the same, if they name this machine alone
#   -x NAME[=VALUE]                     a variable for the ranks, which have all others too
#   --elastic   start it again, with as many ranks as its batch wants, where it asks for that (docs/elastic.md)
#   --restarts K, --checkpoints DIR     and K times after failures; where a script of your own writes its checkpoints
#   --dry-run   print the command instead of running it
#   --help      this text
# Without a command, the remaining words are flags of python -m tflbt.train. The project's .venv is used if
# no environment is active.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/relaunch.sh
. "$launch_root/launch/relaunch.sh"

read_options "$@"
use_environment
read_hosts
[ -z "$several" ] || fail "$host_list is not this machine alone: use launch/horovodrun.sh or launch/mpirun.sh"
[ ${#rest[@]} = 0 ] || [ -n "$ranks" ] || need_number "the number of ranks" "${rest[0]}"
[ -n "$ranks" ] || fail "how many ranks? (see --help)"
if_elastic "$([ "$controller" = mpi ] && echo USR1 || echo TERM)"
rank_command "${rest[@]}"
case $controller in
  mpi) use_mpi_settings; run_mpi ;;
  *) [ ${#mpi_options[@]} = 0 ] || fail "${mpi_options[1]} is a setting of Open MPI: give --mpi too"
    print_or_run "$dry_run" python -m tflbt.distributed.horovodrun -np "$ranks" --gloo "${rank_words[@]}" ;;
esac
