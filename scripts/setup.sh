#!/usr/bin/env bash
# Make .venv with the project and its commands, and the base model in the cache.
# Quick when nothing changed: a stamp holds the digest of what the environment was made from.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '[setup] %s\n' "$*"; }
fail() { printf '[setup] error: %s\n' "$*" >&2; exit 1; }

find_python() {
  for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      command -v "$name"
      return
    fi
  done
  fail "Python 3.11 or later is needed; install it or set PYTHON=/path/to/python3"
}

make_venv() {
  "$python" -m venv .venv 2>/dev/null && return
  rm -rf .venv
  say "this Python has no ensurepip: installing python3-venv"
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo"
  $sudo apt-get update -qq && $sudo apt-get install -y -qq python3-venv \
    || fail "python3-venv could not be installed; install it and run make setup again"
  "$python" -m venv .venv
}

# On a machine without an NVIDIA GPU the CUDA build of torch is gigabytes for nothing.
refuse_cuda_torch() {
  [ "${TORCH_CUDA:-0}" = 1 ] || command -v nvidia-smi >/dev/null && return
  .venv/bin/python -c 'import torch' 2>/dev/null && return
  local plan
  plan=$(.venv/bin/pip install --quiet --dry-run --report - -c constraints.txt torch 2>/dev/null) || return 0
  if grep -qE '"name": "(nvidia|cuda)-' <<<"$plan"; then
    fail "pip would install torch with gigabytes of CUDA packages, and this machine has no NVIDIA GPU.
  Point pip at a CPU build (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), or accept it with TORCH_CUDA=1"
  fi
}

stamp=.venv/.made-from
wanted=$(cat constraints.txt pyproject.toml scripts/setup.sh | sha256sum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  python=$(find_python)
  [ -x .venv/bin/pip ] || { say "making .venv with $python"; make_venv; }
  refuse_cuda_torch
  say "installing the pinned packages (a few minutes the first time)"
  .venv/bin/pip install --progress-bar on -q -c constraints.txt -e '.[dev]'
  printf '%s' "$wanted" >"$stamp"
fi
.venv/bin/python -m gateway.model
