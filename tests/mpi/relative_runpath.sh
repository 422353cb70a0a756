# Prints a run path of a wheel that was built in /cache/build.x for /a/.venv, made relative to the wheel.
say() { printf '%s\n' "$*"; }
venv=/a/.venv build=/cache/build.x
. mpi/horovod_wheel.sh
relative_runpath "/a/.venv/lib:/opt/mpi/lib:/cache/build.x/nccl/lib"
