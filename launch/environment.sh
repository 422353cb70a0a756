# What the launchers share (sourced, not run): the environment, MPI's settings, printing a command.
# shellcheck shell=bash disable=SC2034

launch_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() { printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

# The comment at a script's beginning is its --help.
print_help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }

# The active environment, else .venv, else whatever is on PATH (a container, a cluster's module).
use_environment() {
  if [ -z "${VIRTUAL_ENV:-}" ] && [ -r "$launch_root/.venv/bin/activate" ]; then
    # shellcheck source=/dev/null
    . "$launch_root/.venv/bin/activate"
  fi
}

use_mpi_settings() {
  local user=${HOME:-/nonexistent}/.openmpi/mca-params.conf
  export OMPI_MCA_mca_base_param_files=${OMPI_MCA_mca_base_param_files:-$launch_root/mpi/mca-params.conf,$user}
  if [ "$(id -u)" = 0 ]; then # Open MPI refuses to run as root without both of these
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}

need_number() {
  case $2 in
    "" | *[!0-9]* | 0*) fail "$1 must be a whole number of at least 1, not '$2'" ;;
  esac
}

# What a rank runs: the words themselves, or the training command if they begin with --.
rank_command() {
  case ${1:-} in
    "") fail "nothing to run: give a command, or the flags of tflbt.train (see --help)" ;;
    --*) rank_words=(python -m tflbt.train "$@") ;;
    *) rank_words=("$@") ;;
  esac
}

# Prints the command as a shell would read it, or replaces this process with it.
print_or_run() {
  local dry_run=$1
  shift
  if [ -n "$dry_run" ]; then
    printf '%q ' "$@" | sed 's/ $//'
    printf '\n'
    exit 0
  fi
  command -v "$1" >/dev/null || fail "no $1 on PATH: run mpi/install.sh first, or load what brings it"
  exec "$@"
}
