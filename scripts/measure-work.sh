#!/usr/bin/env bash
# Measures how an export of softlabels scales from 1 to 4 workers over a NATS server, compared with as many local processes on
# shares of the manifest: scripts/measure-work.sh MANIFEST.csv NAME=MODEL [ROWS]. Needs as many idle cores as workers, and a release build with the
# feature `remote` (or FERMATA=PROGRAM). Prints rows per second by total wall time (start, computing, assembling), and their ratio; also compares the results.
set -euo pipefail
cd "$(dirname "$0")/.."

manifest="${1:?MANIFEST.csv}" teacher="${2:?NAME=MODEL}" rows="${3:-4096}"
fermata="${FERMATA:-target/release/fermata}"
work="$(mktemp -d)"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

# Shares are placed next to the manifest's images, whose paths are relative to it.
folder="$(cd "$(dirname "$manifest")" && pwd)"
mkdir "$work/data"
ln -s "$folder"/* "$work/data/"
rm -f "$work/data/$(basename "$manifest")"
share() { # share NUMBER OF FILE: every OF-th row, from NUMBER
    awk -v n="$1" -v of="$2" -v most="$rows" 'NR == 1 || (NR - 2 < most && (NR - 2) % of == n)' "$manifest" >"$work/data/$3"
}
share 0 1 all.csv
rows=$(($(wc -l <"$work/data/all.csv") - 1))
unit=$(((rows + 63) / 64))

port=14222
printf 'listen: 127.0.0.1:%s\njetstream {store_dir: "%s", sync_interval: always}\n' "$port" "$work/nats" >"$work/nats.conf"
.native/nats-server/nats-server --config "$work/nats.conf" >"$work/nats.log" 2>&1 &
pids+=($!)
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done

export_of() { # export_of MANIFEST OUT MORE...
    local of="$1" out="$2"
    shift 2
    "$fermata" softlabels --manifest "$work/data/$of" --teacher "$teacher" --views 4 --unit "$unit" --readers 1 --quiet --out "$work/$out" "$@" >/dev/null
}
now() { date +%s.%N; }
rate() { awk -v rows="$rows" -v from="$1" -v to="$2" 'BEGIN {printf "%.1f", rows / (to - from)}'; }

echo "rows $rows, units of $unit, $(nproc) cores"
for count in 1 2 3 4; do
    began="$(now)"
    local_pids=()
    for ((n = 0; n < count; n++)); do
        share "$n" "$count" "share-$n.csv"
        export_of "share-$n.csv" "local-$count-$n" &
        local_pids+=($!)
    done
    wait "${local_pids[@]}"
    locally="$(rate "$began" "$(now)")"

    began="$(now)"
    work_pids=()
    for ((n = 0; n < count; n++)); do
        "$fermata" work --nats "nats://127.0.0.1:$port" --job "m$count" --readers 1 --quiet --out "$work/worker-$count-$n" >/dev/null 2>&1 &
        work_pids+=($!)
    done
    export_of all.csv "shared-$count" --nats "nats://127.0.0.1:$port" --job "m$count" 2>/dev/null
    shared="$(rate "$began" "$(now)")"
    wait "${work_pids[@]}"
    awk -v n="$count" -v a="$shared" -v b="$locally" 'BEGIN {printf "%d: %s rows/s on workers, %s in processes of their own, ratio %.3f\n", n, a, b, a / b}'
    [ "$count" = 1 ] || cmp "$work/shared-1/softlabels.npz" "$work/shared-$count/softlabels.npz"
done
