# The loop in which the launchers start a run again that asks for it (sourced, after environment.sh; not run).
# shellcheck shell=bash disable=SC2034
#
# With --elastic a run that ends with status 76, or has left a file next_ranks beside its checkpoints (plain
# horovodrun turns every status into 1), is started again, with --resume and as many ranks as the file says:
#   "N resize"      the batch wants N ranks
#   "N preempted"   a signal has announced the end; if the launcher got it too, it ends with status 76 itself
# A run that ends otherwise is not started again, but for --restarts: that often, after failures, if there is a
# checkpoint. The exit status is then that of the last start.

ASKS_AGAIN=76
signalled="" workdir="" why=""

# Where the run writes its checkpoints: as --checkpoints says, else in tflbt.train's --workdir.
_find_checkpoints() {
  local word before=""
  for word in "${rest[@]}"; do
    case $before in --workdir) workdir=$word ;; esac
    case $word in --workdir=*) workdir=${word#*=} ;; esac
    before=$word
  done
  [ -n "$checkpoints" ] || checkpoints=${workdir:+$workdir/checkpoints}
  [ -n "$checkpoints" ] || fail "--elastic needs --workdir=DIR among the flags, or --checkpoints DIR before the command"
}

# Takes what the last start has asked for: sets `ranks` and `why`.
_take_request() {
  local wanted=""
  why=""
  [ -r "$checkpoints/next_ranks" ] || return 1
  read -r wanted why <"$checkpoints/next_ranks" || true
  rm -f "$checkpoints/next_ranks"
  need_number "the number in $checkpoints/next_ranks" "$wanted"
  ranks=$wanted
}

# Waits for the job to end, through signals, which it is handed; sets `status`.
_wait_for_job() {
  local pid=$1 signal=$2
  # shellcheck disable=SC2064
  trap "signalled=1; kill -s $signal $pid 2>/dev/null || true" TERM USR1
  # shellcheck disable=SC2064
  trap "signalled=1; kill -s TERM $pid 2>/dev/null || true" INT
  status=0
  while kill -0 "$pid" 2>/dev/null; do
    status=0
    wait "$pid" || status=$?
  done
  trap - TERM USR1 INT
}

_has_checkpoint() { compgen -G "$checkpoints/epoch_*" >/dev/null; }

# Says in one line what happens next.
_say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

# relaunch_loop SIGNAL: runs the job until it is over, beginning with `ranks` of them. The launcher defines
# job_of RANKS, which sets `job`, the words before those of `rest`, and may define preempted, called where the run has
# ended for a signal that the launcher has not seen. SIGNAL is what the job hands on to its ranks.
relaunch_loop() {
  local signal=$1 failures=0 again=()
  _find_checkpoints
  if _take_request || [ "${SLURM_RESTART_COUNT:-0}" != 0 ]; then again=(--resume); fi
  while :; do
    [ "$ranks" -le "${TFLBT_MAX_RANKS:-$ranks}" ] || ranks=$TFLBT_MAX_RANKS
    # A script resumes by itself what there is; a run that has not begun cannot be resumed.
    [ -n "$workdir" ] && [ -e "$workdir/config.json" ] || again=()
    job_of "$ranks"
    "${job[@]}" "${rest[@]}" ${again[@]+"${again[@]}"} &
    _wait_for_job $! "$signal"
    again=(--resume)
    if _take_request || [ "$status" = $ASKS_AGAIN ]; then
      [ -z "$signalled" ] || exit $ASKS_AGAIN
      if [ "$why" = preempted ] && declare -F preempted >/dev/null; then preempted; fi
      _say "starts the run of $checkpoints again with $ranks ranks${why:+ ($why)}"
    elif [ "$status" != 0 ] && [ -z "$signalled" ] && [ "$failures" -lt "$restarts" ] && _has_checkpoint; then
      failures=$((failures + 1))
      _say "the run ended with status $status; start $failures of $restarts again"
    else
      exit "$status"
    fi
  done
}

# The loop of a launcher whose own words are in `own_words`: each start is that launcher without --elastic.
if_elastic() {
  local signal=$1
  [ -n "$elastic" ] && [ -z "$dry_run" ] || return 0
  need_number "-np" "$ranks"
  job_of() { job=(bash "$0" ${own_words[@]+"${own_words[@]}"} -np "$1"); }
  relaunch_loop "$signal"
}
