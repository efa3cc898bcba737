#!/usr/bin/env bash
# Installs the Debian packages that kvengine builds with, where they are missing. Needs root or sudo only then.
# tools/setup.sh fuzz: those of the fuzz targets (tools/fuzz.sh) too.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config python3 python3-pip unzip
  libopenblas-dev libeigen3-dev nlohmann-json3-dev libyaml-cpp-dev libtbb-dev libcli11-dev libfmt-dev
  libgtest-dev libbenchmark-dev libonig-dev libutf8proc-dev libxxhash-dev
  librsvg2-dev libcairo2-dev fonts-dejavu-core
  bubblewrap
  python3-dev python3-numpy pybind11-dev
)

[ "${1:-}" = fuzz ] && packages+=(clang-16 libclang-rt-16-dev)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: run this as root to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
