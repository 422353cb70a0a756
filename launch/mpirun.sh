#!/usr/bin/env bash
# launch/mpirun.sh: starts ranks with mpirun itself, on this machine or on the hosts of a file.
#
# Usage: launch/mpirun.sh -np N [--hostfile FILE] [--dry-run] [command ...]
#        launch/mpirun.sh -np 8 --hostfile hosts --config=hparams/cifar10_resnet20.py:two_phase_lars --workdir=DIR
#   -np N             the total number of ranks
#   --hostfile FILE   the hosts, as in mpi/hostfile.example (default: this machine, or what the batch
#                     system has allocated)
#   --dry-run         print the command instead of running it
#   --help            this text
# The flags are those that Horovod's guide to mpirun recommends (-bind-to none -map-by slot, and -x to pass
# the environment on); other settings are in mpi/mca-params.conf. Without a command, the words are
# flags of python -m tflbt.train. The project's .venv is used if no environment is active.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

ranks="" hostfile="" dry_run=""
while [ $# -gt 0 ]; do
  case $1 in
    -np | -n) [ $# -gt 1 ] || fail "$1 needs a number"; ranks=$2; shift ;;
    --hostfile) [ $# -gt 1 ] || fail "--hostfile needs a file"; hostfile=$2; shift ;;
    --hostfile=*) hostfile=${1#*=} ;;
    --dry-run) dry_run=1 ;;
    -h | --help) print_help ;;
    *) break ;;
  esac
  shift
done
need_number "-np" "$ranks"
rank_command "$@"
use_environment
use_mpi_settings

where=()
if [ -n "$hostfile" ]; then
  [ -r "$hostfile" ] || fail "--hostfile $hostfile cannot be read (an example: mpi/hostfile.example)"
  where=(--hostfile "$hostfile")
elif [ -z "${SLURM_JOB_ID:-}${PBS_NODEFILE:-}${LSB_HOSTS:-}" ]; then
  where=(-host "localhost:$ranks") # as many slots as ranks, whatever the cores
fi
handed_on=()
for name in PATH LD_LIBRARY_PATH PYTHONPATH VIRTUAL_ENV TF_CPP_MIN_LOG_LEVEL TF_USE_LEGACY_KERAS \
  CUDA_VISIBLE_DEVICES NCCL_DEBUG NCCL_SOCKET_IFNAME HOROVOD_TIMELINE OMPI_MCA_mca_base_param_files; do
  [ -z "${!name:-}" ] || handed_on+=(-x "$name")
done
print_or_run "$dry_run" mpirun -np "$ranks" ${where[@]+"${where[@]}"} -bind-to none -map-by slot \
  "${handed_on[@]}" "${rank_words[@]}"
