#!/usr/bin/env bash
# A real SLURM on one Debian machine, for tests: N virtual nodes on the loopback interface, with accounting; as root,
# without systemd. Everything lives in one folder, and `stop` ends only what `start` began.
#
#   cluster.sh install|start|stop|status|slurmd NODE|running
#
# Settings: SLURM_TEST_DIR (folder), SLURM_TEST_NODES (4), SLURM_TEST_CPUS (of a node: 4), SLURM_TEST_PORT (first of 15)
set -euo pipefail

folder=${SLURM_TEST_DIR:-/tmp/us3l-slurm-test}
nodes=${SLURM_TEST_NODES:-4}
cpus=${SLURM_TEST_CPUS:-4}
port=${SLURM_TEST_PORT:-18000}
packages=(slurmctld slurmd slurm-client slurmdbd munge mariadb-server-core mariadb-client-core)
export SLURM_CONF=$folder/slurm.conf

fail() {
    echo "error: cluster.sh: $*" >&2
    tail -n 8 "$folder"/log/*.log >&2 2>/dev/null || true
    exit 1
}

# wait_for SECONDS COMMAND...: until the command succeeds
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until timeout 10 "$@" >"$folder/log/wait.log" 2>&1 </dev/null; do
        [ $SECONDS -lt $end ] || fail "gave up waiting for: $*"
        sleep 0.1
    done
}

# Nobody may be there to reap: a zombie is dead.
alive() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

running() { [ -s "$SLURM_CONF" ] && timeout 5 sinfo --noheader >/dev/null 2>&1; }

install_packages() {
    dpkg --status "${packages[@]}" >/dev/null 2>&1 && return 0
    # dpkg shall start no daemon of its own; a policy that is there already stays
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    local log
    log=$(mktemp)
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${packages[@]}"; } \
        </dev/null >"$log" 2>&1 || { cat "$log" >&2; echo "error: apt-get could not install ${packages[*]}" >&2; exit 1; }
}

configure() {
    umask 022
    mkdir -p "$folder"/{log,state,spool,run,munge} /etc/slurm
    chmod 700 "$folder/munge"
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$folder/spool/node$i"
        grep -qw "node$i" /etc/hosts || echo "127.0.0.1 node$i" >>/etc/hosts
    done
    if [ ! -s "$folder/munge/key" ]; then
        head -c 1024 /dev/urandom >"$folder/munge/key"
        chmod 400 "$folder/munge/key"
    fi
    # cred_expire: a requeued job waits for it to pass. KillWait: tasks of submitit ignore SIGTERM.
    cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdPidFile=$folder/run/%n.pid
SlurmdLogFile=$folder/log/%n.log
SlurmdSpoolDir=$folder/spool/%n
StateSaveLocation=$folder/state
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
KillWait=5
MinJobAge=600
SlurmdTimeout=10
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$folder/run/munge.sock
NodeName=node[1-$nodes] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((port + 11))-$((port + 10 + nodes))] CPUs=$cpus RealMemory=4000
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
CONF
    (
        umask 077 # slurmdbd wants its file unreadable to others
        cat >"$folder/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock
DbdHost=localhost
DbdPort=$((port + 1))
SlurmUser=root
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 2))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
CONF
    )
    # submitit removes SLURM_CONF from the environment of what it submits: the default place must work as well
    if [ ! -e /etc/slurm/slurm.conf ] || [ -L /etc/slurm/slurm.conf ]; then
        ln -sfn "$SLURM_CONF" /etc/slurm/slurm.conf
    fi
}

start_database() {
    [ -d "$folder/mysql/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$folder/mysql" \
        --auth-root-authentication-method=normal --skip-test-db >"$folder/log/mariadb-install.log" 2>&1
    mariadbd --no-defaults --user=root --datadir="$folder/mysql" --socket="$folder/run/mysql.sock" \
        --pid-file="$folder/run/mariadbd.pid" --bind-address=127.0.0.1 --port=$((port + 2)) \
        --innodb-buffer-pool-size=256M --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 \
        >"$folder/log/mariadbd.log" 2>&1 </dev/null &
    local client=(mariadb --no-defaults -S "$folder/run/mysql.sock" -u root -e)
    wait_for 30 "${client[@]}" "SELECT 1"
    "${client[@]}" "CREATE DATABASE IF NOT EXISTS slurm_acct;
        CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY 'slurm', slurm@localhost IDENTIFIED BY 'slurm';
        GRANT ALL ON slurm_acct.* TO slurm@'127.0.0.1', slurm@localhost;"
    SLURM_CONF=$folder/slurmdbd.conf slurmdbd
    wait_for 30 sacctmgr -n show cluster
    sacctmgr -n show cluster test format=cluster | grep -q test || sacctmgr -iQ add cluster test >/dev/null
}

start_slurmd() { slurmd -f "$SLURM_CONF" -N "$1"; }

start() {
    running && return 0
    stop # what a killed test run may have left half alive
    # nor may its jobs come back: a node that finds a script of theirs in its spool does not get idle
    rm -rf "$folder"/{state,spool,mysql,run,log}
    configure
    munged --key-file="$folder/munge/key" --socket="$folder/run/munge.sock" --pid-file="$folder/munge/munged.pid" \
        --log-file="$folder/munge/munged.log" --seed-file="$folder/munge/seed"
    start_database
    slurmctld -f "$SLURM_CONF"
    for ((i = 1; i <= nodes; i++)); do start_slurmd "node$i"; done
    wait_for 60 sh -c "[ \$(sinfo -h -p main -N -t idle -o %n | wc -l) -eq $nodes ]"
}

stop() {
    # it is slurmd that ends tasks which ignore SIGTERM: let it finish before it goes
    if running && timeout 5 scancel --user=root >/dev/null 2>&1; then
        timeout 20 sh -c 'until [ -z "$(squeue -h)" ]; do sleep 0.2; done' || true
    fi
    local file process
    for file in "$folder"/run/node*.pid "$folder"/run/{slurmctld,slurmdbd,mariadbd}.pid "$folder"/munge/munged.pid; do
        [ -s "$file" ] || continue
        process=$(cat "$file")
        grep -qE '^(slurm|munged|mariadbd)' "/proc/$process/comm" 2>/dev/null || continue
        kill "$process"
        for _ in $(seq 100); do
            alive "$process" || break
            sleep 0.1
        done
    done
    if [ "$(readlink /etc/slurm/slurm.conf)" = "$SLURM_CONF" ]; then rm -f /etc/slurm/slurm.conf; fi
}

case ${1:-} in
install) install_packages ;;
start)
    install_packages
    start
    echo "export SLURM_CONF=$SLURM_CONF"
    ;;
stop) stop ;;
running) running ;;
status)
    sinfo -N -l
    squeue
    ;;
slurmd) start_slurmd "$2" ;; # bring a node back after a test has ended its daemon
*)
    echo "usage: $0 install|start|stop|status|running|slurmd NODE" >&2
    exit 2
    ;;
esac
