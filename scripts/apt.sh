#!/usr/bin/env bash
# Installs the missing Debian packages of a list: scripts/apt.sh LIST.txt...
# Decides how to get root. Does nothing, and asks for no privileges, if nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

if [ "${FERMATA_SKIP_APT:-}" = 1 ]; then
    echo "apt: not looked at (FERMATA_SKIP_APT=1)"
    exit 0
fi

wanted=()
for list in "$@"; do
    names="$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$list")"
    mapfile -t lines <<<"$names"
    wanted+=("${lines[@]}")
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "no apt-get here: this set-up is for Debian 12 or Ubuntu. Elsewhere, install what matches these packages, then" \
        "run make again with FERMATA_SKIP_APT=1: ${wanted[*]}"
fi

missing=()
for name in "${wanted[@]}"; do
    # Only the native architecture's package counts, not a foreign one (libc6:i386).
    state="$(dpkg-query --show --showformat='${db:Status-Status}\n' "$name" 2>/dev/null | head -n 1 || true)"
    [ "$state" = installed ] || missing+=("$name")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        fail "packages are missing, and there is no sudo to install them with. As root, run:" \
            "apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
fi
apt_get() {
    # `env`, because sudo does not pass variables on. Locally changed configuration files are kept.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confold "$@" </dev/null >>"$log" 2>&1
}

log=.native/apt.log
mkdir -p .native
: >"$log"
echo "apt: installing ${missing[*]} (log: $log)"
# One unreachable third-party source must not stop the set-up: the installation below fails if it matters.
apt_get update || echo "apt: 'apt-get update' reported errors; going on" >&2
if ! apt_get install --yes --no-install-recommends "${missing[@]}"; then
    tail -n 20 "$log" >&2
    fail "apt-get could not install: ${missing[*]}. What it said last is above; mend that and run make again"
fi
