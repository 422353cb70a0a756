#!/usr/bin/env bash
# two_hosts.sh: two hosts on one Linux machine, for tests: network namespaces with names of their own, joined by a cable.
#
# Usage: two_hosts.sh up [RATE]          makes NAME-1 (10.9.0.1) and NAME-2 (10.9.0.2); RATE, as 1gbit, limits the cable
#        two_hosts.sh down               removes them
#        two_hosts.sh on 1|2 COMMAND...  runs a command on a host; its `ssh 10.9.0.2 ...` reaches the other (tests/hosts/ssh)
#        two_hosts.sh cut | mend         takes the cable out, puts it back
# NAME is $TWO_HOSTS, or tflbt-test. Needs root and iproute2. The hosts share the file system.
set -euo pipefail
name=${TWO_HOSTS:-tflbt-test}
case ${1:-} in
  up)
    for i in 1 2; do
      ip netns add "$name-$i"
      ip -n "$name-$i" link set lo up
    done
    ip link add cable netns "$name-1" type veth peer name cable netns "$name-2"
    for i in 1 2; do
      ip -n "$name-$i" addr add "10.9.0.$i/24" dev cable
      ip -n "$name-$i" link set cable up
      if [ -n "${2:-}" ]; then
        ip netns exec "$name-$i" tc qdisc add dev cable root handle 1: htb default 1 r2q 1000
        ip netns exec "$name-$i" tc class add dev cable parent 1: classid 1:1 htb rate "$2" burst 256k
      fi
    done ;;
  on)
    host=$name-$2
    shift 2
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    export PATH="$here/hosts:$PATH" TWO_HOSTS="$name"
    # shellcheck disable=SC2016
    exec ip netns exec "$host" unshare --uts bash -c 'hostname "$0" && exec "$@"' "$host" "$@" ;;
  cut) ip -n "$name-1" link set cable down ;;
  mend) ip -n "$name-1" link set cable up ;;
  down)
    for i in 1 2; do ip netns del "$name-$i"; done ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
