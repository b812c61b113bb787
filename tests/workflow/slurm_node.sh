#!/usr/bin/env bash
# A real Slurm of one node on this machine, for the tests: `slurm_node.sh up FOLDER`, at the end `slurm_node.sh down
# FOLDER`.
#
# Needs root, and Debian 12 or Ubuntu 24.04 or newer; packages that are missing are installed by apt. Everything stays
# in FOLDER: configuration, munge key and socket, state, logs. Only /etc/slurm gets links to the configuration, and
# loses them again: Snakemake's Slurm plugin hands no SLURM_CONF to its jobs. A machine that has a Slurm already is left
# alone. All daemons listen on the loopback. The node has two partitions, `cpu` (the default) and `gpu`, and placeholder
# GPUs: --gpus=1 is granted, and nothing can compute on them. There is no accounting.
#
# Settings from the environment: SLURM_NODE_CPUS (default: 4), SLURM_NODE_GPUS (2), SLURM_NODE_PORT (first of three).
set -euo pipefail

usage() { echo "usage: slurm_node.sh up|down FOLDER" >&2; exit 2; }
[ $# = 2 ] || usage
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
host=$(hostname -s)
port=${SLURM_NODE_PORT:-26817}
files=(slurm.conf gres.conf cgroup.conf)

running() { # running NAME: whether the daemon of that name, started by us, is alive
  local pid
  pid=$(cat "$folder/$1.pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]
}

stop() { # stop NAME: end that daemon, first kindly
  running "$1" || return 0
  local pid; pid=$(cat "$folder/$1.pid")
  kill -TERM "$pid"
  for _ in $(seq 40); do [ -d "/proc/$pid" ] || break; sleep 0.25; done
  [ ! -d "/proc/$pid" ] || kill -KILL "$pid"
  rm -f "$folder/$1.pid"
}

down() {
  if running slurmctld; then
    timeout 20 scancel --user="$(id -un)" || true
    for _ in $(seq 60); do [ -z "$(timeout 5 squeue --noheader --states=RUNNING,COMPLETING)" ] && break; sleep 0.25; done
  fi
  stop slurmd
  stop slurmctld
  stop munged
  local name
  for name in "${files[@]}"; do
    [ "$(readlink "/etc/slurm/$name")" != "$folder/$name" ] || rm "/etc/slurm/$name"
  done
}

packages() {
  local missing=() pair
  for pair in slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client munged:munge; do
    PATH="$PATH:/usr/sbin" command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || { echo "slurm_node.sh: no ${missing[*]}, and no apt to install them" >&2; exit 1; }
  export DEBIAN_FRONTEND=noninteractive
  {
    apt-get -o DPkg::Lock::Timeout=300 -q update &&
      apt-get -o DPkg::Lock::Timeout=300 -q install -y --no-install-recommends "${missing[@]}"
  } >"$folder/apt.log" 2>&1 || { tail -n 20 "$folder/apt.log" >&2; exit 1; }
}

configure() {
  local cpus=${SLURM_NODE_CPUS:-4} gpus=${SLURM_NODE_GPUS:-2} memory i
  memory=$(awk '/MemTotal/ {printf "%d", $2 / 1024 * 0.9}' /proc/meminfo)
  mkdir -p "$folder/state" "$folder/spool" "$folder/log"
  # A placeholder is a /dev/null by another name; the number at its end becomes CUDA_VISIBLE_DEVICES.
  for i in $(seq 0 $((gpus - 1))); do
    [ -c "$folder/gpu$i" ] || mknod "$folder/gpu$i" c 1 3
  done
  printf 'AutoDetect=off\nNodeName=%s Name=gpu File=%s/gpu[0-%d]\n' "$host" "$folder" $((gpus - 1)) >"$folder/gres.conf"
  # Slurm 22.05 does not know this value and needs no such file; later ones look for cgroups unless told not to.
  case $(slurmd -V) in
    *\ 2[0-2].*) ;;
    *) printf 'CgroupPlugin=disabled\n' >"$folder/cgroup.conf" ;;
  esac
  # config_overrides: the node may claim more processors than there are, so that a small machine runs what asks for 4.
  cat >"$folder/slurm.conf" <<CONF
ClusterName=bindrae
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SrunPortRange=$((port + 10))-$((port + 200))
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
MpiDefault=none
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
SlurmdTimeout=60
KillWait=20
MinJobAge=3600
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=$host NodeHostname=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:$gpus State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=INFINITE DefMemPerCPU=512
PartitionName=gpu Nodes=$host MaxTime=INFINITE DefMemPerCPU=512
CONF
  # The commands of Slurm find this node by links that a killed test may have left, but no file of anybody else.
  local name link
  mkdir -p /etc/slurm
  for name in "${files[@]}"; do
    link=/etc/slurm/$name
    if [ -e "$link" ] && [ "$(readlink "$link")" != "$folder/$name" ]; then
      echo "slurm_node.sh: $link is there: this machine has a Slurm already" >&2
      exit 1
    fi
    [ ! -e "$folder/$name" ] || ln -sfn "$folder/$name" "$link"
  done
}

up() {
  [ "$(id -u)" = 0 ] || { echo "slurm_node.sh: only root can start Slurm's daemons" >&2; exit 1; }
  packages
  PATH="$PATH:/usr/sbin"
  configure
  chmod 755 "$folder"
  [ -s "$folder/munge.key" ] || (umask 077; head -c 128 /dev/urandom >"$folder/munge.key")
  # --force: our own folder may stand below one that others can write to, such as /tmp.
  running munged || munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
    --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed" 2>"$folder/log/munged.start"
  running slurmctld || slurmctld || { tail -n 5 "$folder/log/slurmctld.log" >&2; exit 1; }
  running slurmd || slurmd -N "$host" || { tail -n 5 "$folder/log/slurmd.log" >&2; exit 1; }
  local state=
  for _ in $(seq 120); do
    # It may find fault with its configuration after it has gone into the background.
    running slurmctld || { tail -n 5 "$folder/log/slurmctld.log" >&2; break; }
    state=$(timeout 10 sinfo --noheader --Node --format=%T 2>/dev/null | head -n 1 || true)
    case "$state" in
      idle | mixed | allocated) echo "slurm_node.sh: ready"; return 0 ;;
      down* | drain*) scontrol update nodename="$host" state=resume 2>/dev/null || true ;;
    esac
    sleep 0.25
  done
  echo "slurm_node.sh: the node is '$state' after 30 s; see $folder/log" >&2
  down
  exit 1
}

case "$action" in up) up ;; down) down ;; *) usage ;; esac
