#!/usr/bin/env bash
# launch/elastic.sh: starts a job whose ranks come and go: they follow the batch, and outlive one another.
#
# Usage: launch/elastic.sh --max-ranks N [--min-ranks N] [--standby N] [--hosts FILE] [--interface IF] [--log FILE] -- command ...
#        launch/elastic.sh --max-ranks 4 -- --config=hparams/FILE.py:VARIANT --workdir=runs/first --config.sub_batch_size=64
#        launch/elastic.sh --max-ranks 8 --standby 2 --hosts hosts.txt --interface eth0 -- python my_train.py
#   --max-ranks N   the most ranks
#   --min-ranks N   ranks to begin with (default 1)
#   --standby N     processes that have traced everything and wait, beyond those that the batch wants (default 1)
#   --hosts FILE    lines of `name slots=4`, read again and again: hosts may join and leave; default this machine
#   --interface IF  the network interface that the hosts share
#   --ssh COMMAND   what reaches a host (default ssh)
#   --log FILE      the job's events and their times
#   --dry-run       print the command instead of running it
#   --help          this text
# A script trains by tflbt.elastic.fit(model, ...) in place of model.fit. Words that begin with -- in place of a command are
# flags of python -m tflbt.train. It goes over Gloo; see docs/elastic.md.
set -euo pipefail
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

options=() dry_run=""
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case $1 in
    --dry-run) dry_run=1 ;;
    -h | --help) print_help ;;
    *) options+=("$1") ;;
  esac
  shift
done
[ $# -gt 1 ] || fail "a command is missing: ... -- python train.py (see --help)"
shift
rank_command "$@"
use_environment
print_or_run "$dry_run" python -m tflbt.elastic.launcher "${options[@]}" -- "${rank_words[@]}"
