#!/usr/bin/env bash
# launch/demo.sh: from nothing to a trained network: installs what is missing, trains a residual
# network on scikit-learn's digits with two Horovod ranks, LARS and the two-phase schedule.
#
# Usage: launch/demo.sh [flags of tflbt.train, such as --config.epochs=20]
# Each call writes a new run directory, ${TFLBT_RUNS:-runs}/demo-<time>. TFLBT_PYTHON names the Python
# with which to install.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
case ${1:-} in -h | --help) print_help ;; esac
runs=${TFLBT_RUNS:-$launch_root/runs}
case $runs in /*) ;; *) runs=$PWD/$runs ;; esac
cd "$launch_root"

mpi/install.sh ${TFLBT_PYTHON:+--python "$TFLBT_PYTHON"}
run=$runs/demo-$(date +%Y%m%d-%H%M%S)
suffix=2
until mkdir -p "$runs" && mkdir "$run" 2>/dev/null; do
  [ -d "$run" ] || fail "the run directory $run cannot be made (set TFLBT_RUNS)"
  run=${run%.*}.$suffix suffix=$((suffix + 1))
done
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
launch/local.sh 2 --config=hparams/digits_resnet.py:two_phase_lars --workdir="$run" "$@"

printf '\nThe run is in %s:\n' "$run"
for name in metrics.csv figures report.html; do
  if [ -e "$run/$name" ]; then printf '  %s\n' "$run/$name"; else fail "the run wrote no $name"; fi
done
