#!/usr/bin/env bash
# launch/local.sh: starts N ranks on this machine with horovodrun.
#
# Usage: launch/local.sh [--gloo|--mpi] [--dry-run] N [command ...]
#        launch/local.sh 2 --config=hparams/digits_resnet.py:two_phase_lars --workdir=runs/first
#        launch/local.sh 2 python my_train.py
#   --gloo      Horovod's own transport (default)
#   --mpi       Open MPI, with the settings of mpi/mca-params.conf
#   --dry-run   print the command instead of running it
#   --help      this text
# Without a command, the remaining words are flags of python -m tflbt.train. The project's .venv is used if
# no environment is active.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

controller=--gloo dry_run="" ranks=""
while [ $# -gt 0 ]; do
  case $1 in
    --gloo | --mpi) controller=$1 ;;
    --dry-run) dry_run=1 ;;
    -h | --help) print_help ;;
    *) [ -z "$ranks" ] || break; need_number "the number of ranks" "$1"; ranks=$1 ;;
  esac
  shift
done
[ -n "$ranks" ] || fail "how many ranks? (see --help)"
rank_command "$@"
use_environment
use_mpi_settings
print_or_run "$dry_run" horovodrun -np "$ranks" "$controller" "${rank_words[@]}"
