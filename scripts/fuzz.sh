#!/usr/bin/env bash
# Fuzzes the parsers of external text: scripts/fuzz.sh [SECONDS_PER_TARGET] [TARGET...] (60; all of them). Makes a stable
# compiler count coverage for libFuzzer, and decides where inputs come from and go to. Fails if an input breaks a law.
#
#   tests/fuzz/corpus/TARGET        initial inputs, in addition to the graphs and cards of the repository and its documents
#   tests/fuzz/found/TARGET         inputs that reached new code, kept for the next run
#   tests/fuzz/artifacts/TARGET     inputs that broke something
#   tests/fuzz/regressions/TARGET   inputs that once did; `make test` replays them
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-60}"
[[ "$seconds" =~ ^[0-9]+$ ]] || { echo "error: '$seconds' is not a number of seconds per target" >&2 && exit 1; }
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(graph_file card interpolation overrides)

# With --target, build scripts and procedural macros are compiled without the flags.
host="$(rustc -vV | sed -n 's/^host: //p')"
flags=(
    --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)
RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR=tests/fuzz/target \
    cargo build --manifest-path tests/fuzz/Cargo.toml --release --target "$host" --bins

# Writes every YAML block of a document to a file of its own: yaml_blocks DOCUMENT FOLDER.
yaml_blocks() {
    awk -v to="$2/$(basename "$1" .md)" '/^```/ { inside = $0 == "```yaml"; if (inside) file = to "-" ++blocks ".yaml"; next }
        inside { print > file }' "$1"
}

gathered="$(mktemp -d)"
trap 'rm -rf "$gathered"' EXIT
mkdir -p "$gathered"/{graph_file,card,interpolation,overrides}
cp graphs/*.yaml graphs/*/*.yaml "$gathered/graph_file"
for document in README.md docs/*.md; do
    yaml_blocks "$document" "$gathered/graph_file"
done
yaml_blocks docs/models.md "$gathered/card"

# A small stack reveals recursion that a larger one would hide.
ulimit -s 2048
for target in "${targets[@]}"; do
    program="tests/fuzz/target/$host/release/$target"
    [ -x "$program" ] || { echo "error: there is no fuzz target '$target'" >&2 && exit 1; }
    mkdir -p tests/fuzz/{corpus,found,artifacts,regressions}/"$target"
    echo "fuzz: $target for $seconds s"
    if ! "$program" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=2048 \
        -dict=tests/fuzz/words.dict -print_final_stats=1 \
        -artifact_prefix="tests/fuzz/artifacts/$target/" \
        tests/fuzz/{found,corpus,regressions}/"$target" "$gathered/$target"; then
        echo "error: $target broke a law. The input is named above; to repeat it:" >&2
        echo "    $program tests/fuzz/artifacts/$target/…" >&2
        echo "Once it is mended, keep the input in tests/fuzz/regressions/$target/." >&2
        exit 1
    fi
done
