#!/usr/bin/env bash
# Runs a command on a machine of its own: network, mounts, processes and host name are private, and all of it ends when this process is killed.
# The rest of the machine is untouched. usage: sandbox.sh COMMAND…
set -euo pipefail

# Control groups of this machine cannot be private, since the machine itself uses them: the pods get a subtree.
if [ -e /sys/fs/cgroup/cgroup.procs ]; then hierarchies=(/sys/fs/cgroup/); else hierarchies=(/sys/fs/cgroup/*/); fi
PREFIX=ser-node-

groups() { # do something to the subtree $2 of each hierarchy
  for hierarchy in "${hierarchies[@]}"; do "$1" "$hierarchy$2"; done
}
empty() { # what a killed sandbox leaves; its processes may take a moment to go
  for _ in $(seq 50); do
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ -e "$1" ] || return 0
    sleep 0.1
  done
  echo "sandbox: $1 is still in use" >&2
}
empty_old() {
  for group in "$1"*; do
    [ ! -e "$group" ] || [ -e "/proc/${group##*-}" ] || empty "$group"
  done
}

outside() {
  groups empty_old "$PREFIX"
  export SER_NODE_CGROUP="/$PREFIX$$"
  groups mkdir "$PREFIX$$"
  trap 'groups empty "$PREFIX$$"' EXIT
  trap 'kill -KILL $child' INT TERM HUP
  setpriv --pdeathsig KILL unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc bash "$0" --inside "$@" &
  child=$!
  wait "$child"
}

# Folders that a node writes to. /etc and /var keep what they have; what is written goes to memory.
private_folders() {
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs /run
  for folder in etc var; do
    mkdir -p "/run/private/$folder/"{upper,work}
    mount -t overlay -o "lowerdir=/$folder,upperdir=/run/private/$folder/upper,workdir=/run/private/$folder/work" overlay "/$folder"
  done
  for folder in /var/lib/containerd /var/lib/kubelet /var/log/pods; do # an overlay cannot lie over an overlay
    mkdir -p "$folder"
    mount -t tmpfs -o mode=755 tmpfs "$folder"
  done
  mount --make-rshared / # as the kubelet needs it for the volumes of pods
}

# The kubelet would set these for the whole machine; it finds them set.
private_settings() {
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=/run/private/${setting%%=*}
    mkdir -p "$(dirname "$file")"
    echo "${setting##*=}" > "$file"
    mount --bind "$file" "/proc/sys/${setting%%=*}"
  done
}

# Addresses of the node, of a second one, and of the servers beside the cluster (node/addresses.py). Both ends of the link are in here.
private_network() {
  hostname ser-node
  ip link set lo up
  ip link add node0 type veth peer name node1
  for last in 1 2 10 20 53; do ip address add "10.77.0.$last/24" dev node0; done
  ip link set node1 up
  ip link set node0 up
  ip route add default dev node0 # else addresses of Services have no route
  echo 1 > /proc/sys/net/ipv4/ip_forward
}

inside() {
  private_folders
  private_settings
  private_network
  export SER_NODE_SANDBOX=1
  "$@" & # this shell is process 1 of the sandbox and takes in what loses its parent
  wait $!
}

if [ "${1:-}" = --inside ]; then inside "${@:2}"; else outside "$@"; fi
