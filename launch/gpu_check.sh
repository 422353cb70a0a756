#!/usr/bin/env bash
# launch/gpu_check.sh: what to run first on a machine with a GPU: ten minutes, no network, one report.
#
# Usage: launch/gpu_check.sh [--minutes M] [--report FILE] [--data DIR] [--only STEP[,STEP ...]] [--cpu]
#   --minutes M     end after so many minutes (default 10): what then runs is ended, the rest is not begun
#   --report FILE   where the report goes (default gpu_report.md)
#   --data DIR      CIFAR-10's binary files, for rows of Table 2 in the time that is left
#   --only STEPS    of doctor, tests, device, sub_batches, optimizers, curvature, table_2 (default: all, in this order)
#   --cpu           the processor in the GPU's place, with the smallest sizes: for a look at the report
#   --help          this text
# Before: mpi/install.sh --gpu --dev, where there is a network. The status is 0 if no step failed.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

minutes=10 report=gpu_report.md data="" steps=doctor,tests,device,sub_batches,optimizers,curvature,table_2 cpu=""
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) need_number "--minutes" "${2:-}"; minutes=$2; shift ;;
    --report) report=${2:?--report needs a file}; shift ;;
    --data) data=${2:?--data needs a folder}; shift ;;
    --only) steps=${2:?--only needs the name of a step}; shift ;;
    --cpu) cpu=1 ;;
    -h | --help) print_help ;;
    *) fail "unknown option '$1' (see --help)" ;;
  esac
  shift
done
case $report in /*) ;; *) report=$PWD/$report ;; esac
case $data in /* | "") ;; *) data=$PWD/$data ;; esac
cd "$launch_root"
use_environment
use_mpi_settings
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} PYTHONPATH=$launch_root${PYTHONPATH:+:$PYTHONPATH}
# What TensorFlow compiles for this GPU stays for the next start.
export CUDA_CACHE_MAXSIZE=${CUDA_CACHE_MAXSIZE:-4294967296}
output=$(mktemp)
runs=$(mktemp -d)
trap 'rm -rf "$output" "$runs"' EXIT

failed=0
say() { printf '%s\n' "$@" | tee -a "$report"; }

# Runs a command in the time that is left and puts what it prints into the report.
run() {
  local name=$1 left=$((minutes * 60 - SECONDS)) begin=$SECONDS status=0 verdict=passed
  shift
  say "" "## $name" "" "\`$*\`" ""
  if [ "$left" -lt 20 ]; then say "Not run: no time left."; return; fi
  timeout --kill-after=10 "$left" "$@" >"$output" 2>&1 || status=$?
  { printf '```\n'; tail -n 80 "$output"; printf '```\n'; } >>"$report"
  case $status in
    0) ;;
    124 | 137) verdict="ended when the time was over" ;;
    *) # a benchmark that misses a target ends with status 1, but has its figures
      if grep -q ' MISSED$' "$output"; then verdict="ran; a target is missed"; else verdict="failed with status $status" failed=1; fi ;;
  esac
  say "$name: $verdict, $((SECONDS - begin)) s"
}
python() { run "$1" python "${@:2}"; }

step() {
  case $1 in
    doctor) python "$1" -m tflbt.doctor ;;
    tests) TFLBT_GPU_TESTS=${cpu:+cpu} run "$1" python -m pytest -q -n 0 -p no:cacheprovider tests/gpu ;;
    device) benchmark "$1" --network resnet4 --policy float32 --images 16 --sub_batch 8 --rounds 1 ;;
    sub_batches) benchmark "$1" --rounds 1 --images 16 --sub_batch 8 --depth 4 ;;
    optimizers) benchmark "$1" --rounds 1 --variables 3 ;;
    curvature) benchmark "$1" --batch_size 32 --sub_batch 8 --rounds 1 --depth 4 --data_dir= --measurements 1 --steps 1 ;;
    table_2) table_2 ;;
    *) fail "no step '$1' (see --help)" ;;
  esac
}

# A benchmark at its own sizes, or with --cpu at these.
benchmark() {
  local name=$1
  if [ -n "$cpu" ]; then python "$name" -m tflbt.benchmarks "$@"; else python "$name" -m tflbt.benchmarks "$name"; fi
}

# Rows of Table 2 of the two-phase paper at full length, while there is time.
table_2() {
  local row
  if [ -z "$data" ]; then say "" "## Table 2" "" "Not run: no --data."; return; fi
  for row in two_phase_lars lars large_batch two_phase small_batch; do
    python "Table 2, $row" -m tflbt.train --config="hparams/cifar10_resnet20.py:$row" --workdir="$runs/$row" \
      --config.data.data_dir="$data"
    [ ! -r "$runs/$row/metrics.csv" ] || { head -n 1 "$runs/$row/metrics.csv"; tail -n 1 "$runs/$row/metrics.csv"; } >>"$report"
  done
}

: >"$report"
say "# GPU check" "" "$(date -u '+%Y-%m-%d %H:%M UTC')${cpu:+, the processor in the place of a GPU}" ""
say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || printf 'nvidia-smi: no answer')"
IFS=, read -r -a wanted <<<"$steps"
for each in "${wanted[@]}"; do step "$each"; done
say "" "$((SECONDS / 60)) min $((SECONDS % 60)) s in all; $([ $failed = 0 ] && printf 'no step failed.' || printf 'see what failed above.')"
exit $failed
