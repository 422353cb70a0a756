# What the launchers share (sourced, not run): the environment, options, hosts, MPI's settings, printing a command.
# shellcheck shell=bash disable=SC2034

launch_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() { printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

# The comment at a script's beginning is its --help.
print_help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }

# The active environment, else .venv, else whatever is on PATH (a container, a cluster's module).
use_environment() {
  if [ -z "${VIRTUAL_ENV:-}" ] && [ -r "$launch_root/.venv/bin/activate" ]; then
    # shellcheck source=/dev/null
    . "$launch_root/.venv/bin/activate"
  fi
}

use_mpi_settings() {
  local user=${HOME:-/nonexistent}/.openmpi/mca-params.conf
  export OMPI_MCA_mca_base_param_files=${OMPI_MCA_mca_base_param_files:-$launch_root/mpi/mca-params.conf,$user}
  if [ "$(id -u)" = 0 ]; then # Open MPI refuses to run as root without both of these
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}

need_number() {
  case $2 in
    "" | *[!0-9]* | 0*) fail "$1 must be a whole number of at least 1, not '$2'" ;;
  esac
}

# What a rank runs: the words themselves, or the training command if they begin with --.
rank_command() {
  case ${1:-} in
    "") fail "nothing to run: give a command, or the flags of tflbt.train (see --help)" ;;
    --*) rank_words=(python -m tflbt.train "$@") ;;
    *) rank_words=("$@") ;;
  esac
}

# Reads the options of mpirun and of horovodrun, in either's spelling, up to the first word that is none of them; the
# words from there on are left in `rest`, and those that do not say how many ranks, nor how to start again, in `own_words`.
elastic="" restarts=0 checkpoints="" own_words=()
ranks="" host_list="" hostfile="" interface="" controller="" dry_run="" variables=() mpi_options=() ssh=() rest=()
read_options() {
  local word value before
  while [ $# -gt 0 ]; do
    word=${1%%=*} before=("$@")
    case $word in
      --elastic) elastic=1; shift; continue ;;
      --restarts | --checkpoints)
        if [ "$1" != "$word" ]; then value=${1#*=}; else [ $# -gt 1 ] || fail "$1 needs a value"; value=$2; shift; fi
        case $word in
          --restarts) need_number "$word" "$value"; elastic=1 restarts=$value ;;
          *) checkpoints=$value ;;
        esac
        shift
        continue ;;
      --dry-run) dry_run=1 ;;
      -h | --help) print_help ;;
      --gloo | --mpi) controller=${1#--} ;;
      --allow-run-as-root | -allow-run-as-root) ;; # it is allowed anyway
      --) shift; break ;;
      [0-9]*) [ -z "$ranks" ] || break; need_number "the number of ranks" "$1"; ranks=$1 ;;
      -np | -n | --np | --n | -c | --num-proc | -H | -host | --host | -hosts | --hosts | -hostfile | --hostfile | -machinefile | \
        --machinefile | -x | --network-interface | --network-interfaces | -mca | --mca | -p | --ssh-port | -i | \
        --ssh-identity-file)
        if [ "$1" != "$word" ]; then value=${1#*=}; else [ $# -gt 1 ] || fail "$1 needs a value"; value=$2; shift; fi
        case $word in
          -np | -n | --np | --n | -c | --num-proc) need_number "$word" "$value"; ranks=$value ;;
          -H | -host | --host | -hosts | --hosts) host_list=$value ;;
          -x)
            case ${value%%=*} in "" | [0-9]* | *[!A-Za-z0-9_]*) fail "-x needs NAME or NAME=VALUE, not '$value'" ;; esac
            case $value in *=*) export "${value?}" ;; esac
            variables+=("${value%%=*}") ;;
          --network-*) interface=$value ;;
          -mca | --mca) [ $# -gt 1 ] || fail "-mca $value needs a value"; mpi_options+=(-mca "$value" "$2"); shift ;;
          -p | --ssh-port) need_number "$word" "$value"; ssh+=(-p "$value") ;;
          -i | --ssh-identity-file) ssh+=(-i "$value") ;;
          *) hostfile=$value ;;
        esac ;;
      -cb | --check-build) fail "$1: python -m tflbt.doctor says what is installed" ;;
      --min-np | --max-np | --min-num-proc | --max-num-proc | --host-discovery-script | --slots-per-host | \
        --elastic-timeout | --reset-limit | --blacklist-cooldown-range)
        fail "$word is an option of elastic horovodrun: use launch/elastic.sh" ;;
      --verbose | --disable-cache | --start-timeout | --output-filename | --*timeline-* | --cycle-time-ms | --log-* | \
        --fusion-threshold-mb | --cache-capacity | --config-file | --*autotune* | --*hierarchical-* | --*stall-check* | \
        --gloo-timeout-seconds | --mpi-args | --tcp | --binding-args | --*mpi-threads-disable | --num-nccl-streams | \
        --thread-affinity | --prefix-*timestamp | --jsrun)
        fail "$word is an option of horovodrun: python -m tflbt.distributed.horovodrun takes it, or set the variable" \
          "HOROVOD_... that Horovod's documentation names for it" ;;
      -bind-to | --bind-to | -map-by | --map-by | -rank-by | --rank-by | -wd | -wdir | --wdir | -tag-output | --tag-output | \
        -N | -npernode | --npernode | -oversubscribe | --oversubscribe | --report-bindings | --timestamp-output | \
        --nooversubscribe | --pernode | --npersocket | --bynode | --byslot | --prefix | --rankfile | --app | --path | \
        --default-hostfile | --display-map | --display-allocation | --use-hwthread-cpus | --cpu-set | --cpu-list | \
        --slot-list | --stdin | --tune | --gmca | --am | --preload-* | --timeout | --merge-stderr-to-stdout)
        fail "$word is an option of mpirun: give the setting behind it as -mca NAME VALUE (such as -mca" \
          "rmaps_base_oversubscribe 1), or call mpirun yourself: --dry-run shows how" ;;
      -[!-]*) fail "$1 is no option of this launcher (see --help); a command begins with a word" ;;
      *) break ;;
    esac
    shift
    case $word in
      [0-9]* | -np | -n | --np | --n | -c | --num-proc) ;;
      *) own_words+=("${before[@]:0:$((${#before[@]} - $#))}") ;;
    esac
  done
  rest=("$@")
  [ -z "$hostfile" ] || [ -z "$host_list" ] || fail "give -H or --hostfile, not both"
  [ -z "$hostfile" ] || { [ -f "$hostfile" ] && [ -r "$hostfile" ]; } ||
    fail "--hostfile $hostfile cannot be read (an example: mpi/hostfile.example)"
}

# Sets the list HOST:N,..., the ranks (default: all that the hosts take), whether there are others than this machine, and
# the network that joins them. Lines of a hosts file may be comments, HOST slots=N or HOST:N.
several="" network=""
read_hosts() {
  local answer lines
  [ -n "$hostfile$host_list" ] || return 0
  if [ -n "$elastic" ]; then # the most ranks that it may ask for
    answer=$(python -I "$launch_root/tflbt/distributed/hosts.py" ${host_list:+--hosts "$host_list"} \
      ${hostfile:+--hostfile "$hostfile"} 2>&1) || fail "$answer"
    mapfile -t lines <<<"$answer"
    export TFLBT_MAX_RANKS=${TFLBT_MAX_RANKS:-${lines[1]}}
  fi
  answer=$(python -I "$launch_root/tflbt/distributed/hosts.py" ${ranks:+--ranks "$ranks"} \
    ${host_list:+--hosts "$host_list"} ${hostfile:+--hostfile "$hostfile"} 2>&1) || fail "$answer"
  mapfile -t lines <<<"$answer"
  host_list=${lines[0]} ranks=${lines[1]} network=${lines[3]:-}
  [ "${lines[2]}" = 0 ] || several=1
}

# Prints the command as a shell would read it, or replaces this process with it.
print_or_run() {
  local dry_run=$1
  shift
  if [ -n "$dry_run" ]; then
    printf '%q ' "$@" | sed 's/ $//'
    printf '\n'
    exit 0
  fi
  command -v "$1" >/dev/null || fail "no $1 on PATH: run mpi/install.sh first, or load what brings it"
  exec "$@"
}

# Ends in mpirun, with the settings of mpi/mca-params.conf: on one host with every socket on loopback, on several on the
# network that joins them.
run_mpi() {
  local where=() how=() handed_on=() name
  if [ -n "$host_list" ]; then
    where=(-host "$host_list")
  elif [ -z "${SLURM_JOB_ID:-}${PBS_NODEFILE:-}${LSB_HOSTS:-}" ]; then
    where=(-host "localhost:$ranks") # as many slots as ranks, whatever the cores
  fi
  if [ -n "$several" ]; then
    [ -n "${OMPI_MCA_btl_tcp_if_include:-}" ] || [ -z "${interface:-$network}" ] ||
      how=(-mca btl_tcp_if_include "${interface:-$network}" -mca oob_tcp_if_include "${interface:-$network}")
    [ -z "$interface" ] || export NCCL_SOCKET_IFNAME="$interface"
  elif [ ${#where[@]} != 0 ]; then
    # Ranks of one host need no sockets: they share memory.
    how=(-mca btl "${OMPI_MCA_btl:-^openib,tcp}" -mca oob_tcp_if_include "${OMPI_MCA_oob_tcp_if_include:-lo}")
    [ -n "$dry_run" ] || listen_on_loopback
  fi
  [ ${#ssh[@]} = 0 ] || how+=(-mca plm_rsh_args "${ssh[*]}")
  # All that is said to Horovod, TensorFlow, NCCL and OpenMP, except which rank of another job this shell may be.
  for name in $(compgen -e); do
    case $name in
      HOROVOD_RANK | HOROVOD_SIZE | HOROVOD_LOCAL_* | HOROVOD_CROSS_* | HOROVOD_HOSTNAME | HOROVOD_GLOO_IFACE | \
        HOROVOD_GLOO_RENDEZVOUS_*) ;;
      PATH | LD_LIBRARY_PATH | PYTHON* | VIRTUAL_ENV | CUDA_* | XLA_* | KERAS_* | \
        HOROVOD_* | TF_* | NCCL_* | OMP_* | TFLBT_* | OMPI_MCA_mca_base_param_files) variables+=("$name") ;;
    esac
  done
  for name in $(printf '%s\n' "${variables[@]}" | sort -u); do handed_on+=(-x "$name"); done
  print_or_run "$dry_run" mpirun -np "$ranks" "${where[@]}" -bind-to none -map-by slot "${how[@]}" "${mpi_options[@]}" \
    "${handed_on[@]}" "${rank_words[@]}"
}

# mpirun 4.1 itself listens on every interface and has no setting for that: mpi/own_address.c, compiled once, binds it to
# loopback. The ranks run without it.
listen_on_loopback() {
  local library before=(-u LD_PRELOAD)
  library=$(python -I "$launch_root/tflbt/distributed/hosts.py" --preload)
  if [ -z "$library" ]; then
    printf '%s: note: without a C compiler mpirun itself listens on every interface; its ranks do not\n' \
      "$(basename "$0")" >&2
    return 0
  fi
  [ -z "${LD_PRELOAD:-}" ] || before=("LD_PRELOAD=$LD_PRELOAD")
  rank_words=(env -u TFLBT_PRELOAD_BIND "${before[@]}" "${rank_words[@]}")
  export TFLBT_PRELOAD_BIND=loopback LD_PRELOAD="$library${LD_PRELOAD:+:$LD_PRELOAD}"
}
