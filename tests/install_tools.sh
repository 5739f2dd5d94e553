#!/usr/bin/env bash
# Install what the heavy tests use beside Python packages: promtool, and a browser. Where one cannot
# be installed, its tests are skipped and say so.
set -uo pipefail
missing=()
command -v promtool > /dev/null || missing+=(prometheus)
command -v chromium > /dev/null || missing+=(chromium)
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "missing: ${missing[*]}; only root can install it, with apt-get" >&2
    exit 0
fi
apt-get update -qq > /dev/null 2>&1
for package in "${missing[@]}"; do
    apt-get install -y -qq --no-install-recommends "$package" > /dev/null 2>&1 \
        || echo "$package could not be installed with apt-get" >&2
done
exit 0
