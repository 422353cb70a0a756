#!/bin/sh
# The Python $REAL_PYTHON, but for its version, which both lanes take, and for pip: an installation is noted in $PIP_CALLS,
# and does what $PIP_DOES says. Its packages lie in $SITE, so that nothing is written into the environment in which the
# tests run.
case "$*" in
  *sys.version_info*) echo 3.11; exit ;;
  *'get_path("purelib")'*) echo "$SITE"; exit ;;
  *"-m pip "*" install "*) echo "$*" >>"$PIP_CALLS"; eval "${PIP_DOES:-:}"; exit ;;
  *"-m pip "* | "- tensorflow-cpu=="*) exit 0 ;;
esac
exec "$REAL_PYTHON" "$@"
