#!/usr/bin/env bash
# Fails if the engine depends on vision, inference or another crate of this workspace: it must stay usable for any
# streaming work. Another package may be named to see the check fail: scripts/engine-alone.sh fermata-actors.
set -euo pipefail
cd "$(dirname "$0")/.."

package="${1:-fermata-engine}"
tree="$(cargo tree --package "$package" --edges normal --prefix none --format '{p}')"
[ "$(head -n 1 <<<"$tree" | cut -d ' ' -f 1)" = "$package" ] ||
    { echo "error: cargo tree does not start with $package: this check no longer checks anything" >&2 && exit 1; }
banned="$(tail -n +2 <<<"$tree" | grep -E '^(opencv|ort|ort-sys|tch|torch-sys|ffmpeg-next|ffmpeg-sys-next|fermata(-[a-z]+)?) ' |
    grep -v "^$package " | cut -d ' ' -f 1,2 | sort -u || true)"
if [ -n "$banned" ]; then
    echo "error: $package must not depend on these (see the arrows in ARCHITECTURE.md):" >&2
    echo "$banned" >&2
    exit 1
fi
echo "engine: $package depends on no vision, inference or workspace crate"
