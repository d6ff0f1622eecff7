#!/bin/sh
# A cluster of two nodes on one Linux machine: one is killed, one loses its cable, and the run ends with the same weights
# as without. Each node is a network namespace with an address of its own. usage: rehearsal.sh OUT (as root)
set -eu
out=${1:?usage: rehearsal.sh OUT}
bin=${BIN:-$(dirname "$(command -v unreel || echo .venv/bin/unreel)")}
[ "$(id -u)" = 0 ] || { echo "rehearsal: making network namespaces takes root; run it with sudo" >&2; exit 2; }
command -v ip >/dev/null || { echo "rehearsal: there is no ip command; install iproute2" >&2; exit 2; }
[ ! -e "$out" ] || { echo "rehearsal: $out exists already; name another folder" >&2; exit 2; }

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
fail() { say "FAILED: $*"; exit 1; }
namespace() { echo "unreel-$$-$1"; }
run_inside() { node=$1; shift; ip netns exec "$(namespace "$node")" "$@"; }
power_off() { ip netns pids "$(namespace "$1")" | xargs -r kill -9; }
clean_up() {
  for node in 1 2; do
    power_off $node 2>/dev/null || true
    ip netns del "$(namespace $node)" 2>/dev/null || true
  done
}
trap clean_up EXIT
trap 'exit 1' INT TERM

for node in 1 2; do ip netns add "$(namespace $node)"; done
ip link add net0 netns "$(namespace 1)" type veth peer name net0 netns "$(namespace 2)"
for node in 1 2; do
  run_inside $node ip addr add 10.77.0.$node/24 dev net0
  run_inside $node ip link set lo up
  run_inside $node ip link set net0 up
done

# node N LOG ARGUMENTS...: one node's torchrun in the background; the first one is where they meet.
node() {
  number=$1 log=$2; shift 2
  [ "$number" = 1 ] && host=true || host=false
  run_inside "$number" env GLOO_SOCKET_IFNAME=net0 OMP_NUM_THREADS=1 "$bin/torchrun" --nnodes 2 --nproc-per-node 1 \
    --rdzv-backend c10d --rdzv-endpoint 10.77.0.1:29500 --rdzv-id "$log" --rdzv-conf is_host=$host \
    --local-addr 10.77.0."$number" -m unreel pretrain "$@" >"$out/$log.node$number.log" 2>&1 &
}
both() { log=$1; shift; node 1 "$log" "$@"; first=$!; node 2 "$log" "$@"; second=$!; }
finish() { wait $first && wait $second || { cat "$out/$1".node*.log; fail "$1 did not end well"; }; }

# step_reached RUN STEP: wait until the run has come so far.
step_reached() {
  until [ "$(tail -n 1 "$1/metrics.csv" 2>/dev/null | cut -d, -f1 | grep -x '[0-9]*' || echo 0)" -ge "$2" ]; do
    kill -0 $first || { fail "node 1 ended before step $2"; }
    sleep 0.1
  done
}

# ends_by_itself LOG WORDS: node 1 must end within a minute, with an error that says so.
ends_by_itself() {
  since=$(date +%s)
  while kill -0 $first 2>/dev/null; do
    [ $(($(date +%s) - since)) -lt 60 ] || fail "node 1 hangs without node 2"
    sleep 0.2
  done
  ! wait $first || fail "node 1 ended as if all were well"
  wait $second || true
  grep -h "^unreel: .*$2" "$out/$1.node1.log" || { cat "$out/$1.node1.log"; fail "node 1 did not say why it ended"; }
  say "node 1 ended by itself after $(($(date +%s) - since)) s"
}

mkdir -p "$out"
"$bin/unreel" synth "$out/videos" --classes 4 --videos 8
options="--batch-size 4 --steps 40 --monitor-epochs 10 --log-steps 1 --workers 0 --threads 1 --num-frames 4 --size 32"
options="$options --checkpoint-minutes 0.02 --silence-limit-s 10"

say "two nodes, undisturbed"
# shellcheck disable=SC2086
both undisturbed "$out/videos/train.txt" --out "$out/undisturbed" $options
finish undisturbed

say "again; node 2 is killed after step 10"
# shellcheck disable=SC2086
both killed "$out/videos/train.txt" --out "$out/disturbed" $options
step_reached "$out/disturbed" 10
power_off 2
ends_by_itself killed "ended without a message"

say "both go on; after step 25 node 2 loses its cable, then its power"
both cut --resume "$out/disturbed"
step_reached "$out/disturbed" 25
run_inside 2 ip link set net0 down
power_off 2
ends_by_itself cut "nothing was heard of process 1"
run_inside 2 ip link set net0 up

say "both go on to the end"
both last --resume "$out/disturbed"
finish last

last=checkpoints/step-00000040
for file in encoder.safetensors training.safetensors; do
  cmp "$out/undisturbed/$last/$file" "$out/disturbed/$last/$file" || fail "$file is not the same"
  say "the same to the byte: $file"
done
