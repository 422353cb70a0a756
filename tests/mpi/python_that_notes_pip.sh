#!/bin/sh
# The Python $REAL_PYTHON, but for pip: an installation is noted in $PIP_CALLS, and does what $PIP_DOES says.
case "$*" in
  *"-m pip "*" install "*) echo "$*" >>"$PIP_CALLS"; eval "${PIP_DOES:-:}"; exit ;;
  *"-m pip "* | "- tensorflow-cpu=="*) exit 0 ;;
esac
exec "$REAL_PYTHON" "$@"
