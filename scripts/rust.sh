#!/usr/bin/env bash
# Checks that Rust is installed and new enough, with the components given as arguments: scripts/rust.sh [clippy rustfmt].
# Installs nothing: the choice of toolchain is the machine owner's.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

needed="$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)"
[ -n "$needed" ] || fail "Cargo.toml names no rust-version"

command -v cargo >/dev/null ||
    fail "cargo is not on the PATH: install Rust $needed or newer from https://rustup.rs, then run make again"
# rustc may be a rustup proxy without a toolchain, hence the check of the exit status.
found="$(rustc --version)" ||
    fail "rustc does not run (its message is above): 'rustup default stable' may mend it"
found="$(awk '{print $2}' <<<"$found")"
oldest="$(printf '%s\n' "$needed" "${found%%-*}" | sort --version-sort | head -n 1)"
[ "$oldest" = "$needed" ] ||
    fail "Rust $found is too old, $needed or newer is needed: run 'rustup update stable', then make again"

for component in "$@"; do
    case "$component" in
    clippy) probe=(cargo clippy --version) ;;
    rustfmt) probe=(cargo fmt --version) ;;
    *) fail "unknown Rust component $component" ;;
    esac
    "${probe[@]}" >/dev/null 2>&1 || fail "$component is missing: run 'rustup component add $component', then make again"
done
