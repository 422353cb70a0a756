#!/usr/bin/env bash
# tests/run.sh: makes the environment if it must, then runs the tests, doctests included.
#
# Usage: tests/run.sh [pytest arguments]     tests/run.sh -k lars -x
#        tests/run.sh -m slow                the runs on real data that take minutes
#        tests/run.sh -n 0                   in one process (two share the files out otherwise)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mpi/install.sh --dev
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec "${VIRTUAL_ENV:-$root/.venv}/bin/python" -m pytest -n 2 --dist loadfile "$@"
