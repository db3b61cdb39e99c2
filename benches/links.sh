#!/usr/bin/env bash
# Machines on one machine: network namespaces, each with a link of its own to a switch, and a program
# under `mpirun` on all of them. Wants Linux, root, iproute2 and Open MPI.
#
#   benches/links.sh 4 1gbit PROGRAM ARGUMENTS...           one rank a namespace, each link so fast both ways
#   CUT=20 benches/links.sh 4 1gbit PROGRAM ARGUMENTS...    after 20 seconds the last link is cut
#
# With what the example `exchange` prints this gave the seconds of an exchange in docs/backends.md.
set -euo pipefail
count=$1 rate=$2
shift 2

work=$(mktemp -d)
down() {
    for i in $(seq 0 $((count - 1))); do ip netns del "sx$i" 2>/dev/null || true; done
    ip netns del sxsw 2>/dev/null || true
    rm -rf "$work"
}
trap down EXIT

ip netns add sxsw
ip -n sxsw link add br0 type bridge
ip -n sxsw link set br0 up
for i in $(seq 0 $((count - 1))); do
    ip netns add "sx$i"
    ip link add "v$i" netns "sx$i" type veth peer name "p$i" netns sxsw
    ip -n sxsw link set "p$i" master br0 up
    ip -n "sx$i" addr add "10.77.0.$((i + 1))/24" dev "v$i"
    ip -n "sx$i" link set "v$i" up
    ip -n "sx$i" link set lo up
    ip netns exec "sx$i" tc qdisc add dev "v$i" root tbf rate "$rate" burst 256kb latency 50ms
    ip netns exec sxsw tc qdisc add dev "p$i" root tbf rate "$rate" burst 256kb latency 50ms
    echo "10.77.0.$((i + 1)) slots=1" >>"$work/hosts"
done

# What stands for ssh: the namespace of the address.
cat >"$work/agent" <<'AGENT'
#!/usr/bin/env bash
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec ip netns exec "sx$((${host##*.} - 1))" bash -c "$*"
AGENT
chmod +x "$work/agent"

if [ -n "${CUT:-}" ]; then
    (sleep "$CUT" && date '+%T the last link is cut' >&2 &&
        ip -n "sx$((count - 1))" link set "v$((count - 1))" down) &
fi
export OMPI_MCA_oob_tcp_keepalive_time="${KEEPALIVE_TIME:-30}"
export OMPI_MCA_oob_tcp_keepalive_intvl="${KEEPALIVE_INTVL:-10}"
export OMPI_MCA_oob_tcp_keepalive_probes="${KEEPALIVE_PROBES:-3}"
export OMPI_MCA_mpi_yield_when_idle=1
code=0
ip netns exec sx0 mpirun --allow-run-as-root --bind-to none --hostfile "$work/hosts" \
    --mca plm_rsh_agent "$work/agent" --mca btl tcp,self \
    --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
    -n "$count" "$@" || code=$?
date "+%T ended with $code" >&2
exit "$code"
