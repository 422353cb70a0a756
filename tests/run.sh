#!/usr/bin/env bash
# tests/run.sh: makes the environment if it must, then runs the tests, doctests included.
#
# Usage: tests/run.sh [--quick] [pytest arguments]
#        tests/run.sh -k lars -x
#        tests/run.sh --quick                for the hand, about a minute on two cores: of each file, in its order, the
#                                            first case of each test until the file has used 0.3 s (the rest shows as
#                                            s); without ranks, benchmarks and what NOT_QUICK in tests/conftest.py names
#        tests/run.sh -m slow                the runs on real data that take minutes
#        tests/run.sh -n 0                   in one process (three share the tests out otherwise)
#        tests/run.sh tests/ranks            the tests of two ranks alone
#
# There are two sessions of pytest, each with its own summary: first that of tests/ranks, on two real ranks in step,
# then all other tests. The arguments go to both. The exit status is 0 if neither has a failure.
set -euo pipefail
if [ "${1:-}" = --help ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
  exit
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mpi/install.sh --dev
bin=${VIRTUAL_ENV:-$root/.venv}/bin
export PATH=$bin:$PATH # the launchers take their commands from there
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
# Several processes share the cores: one thread each wastes none of them on waiting for the others.
export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=2
# Many tests start processes. Where Python may write no byte code, each would compile all that it imports.
if [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then
  unset PYTHONDONTWRITEBYTECODE
  export PYTHONPYCACHEPREFIX=${PYTHONPYCACHEPREFIX:-$temporary/bytecode}
fi
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

ranks=1 share=worksteal
if [ "${1:-}" = --quick ]; then
  shift
  ranks=0 share=loadfile
  export TFLBT_QUICK_TESTS=1
fi

status=0
if [ $ranks = 1 ]; then
  # Horovod looks for work every millisecond otherwise, which is a sixth of this session's processor time.
  PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} HOROVOD_CYCLE_TIME=${HOROVOD_CYCLE_TIME:-5} \
    "$bin/horovodrun" -np 2 --gloo "$bin/python" -m pytest --durations=10 "$@" -n 0 2>&1 |
    sed -u 's/^\[0\]<std[a-z]*>://' || status=$?
fi
others=0
# A third process has work for two cores where tests wait: for limits, or for processes that they start.
"$bin/python" -m pytest --ignore=tests/ranks --durations=10 -n 3 --dist $share "$@" || others=$?
if [ $others = 5 ] && [ $ranks = 1 ]; then others=0; fi # pytest's word for "no tests": they may be those of ranks
exit $((status > others ? status : others))
