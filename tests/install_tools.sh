#!/usr/bin/env bash
# Install what the heavy tests use beside Python packages. Where it cannot be installed, they are
# skipped and say so.
set -uo pipefail
command -v promtool > /dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "promtool is missing, and only root can install it with apt-get" >&2
    exit 0
fi
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; } > /dev/null 2>&1 \
    || echo "promtool could not be installed with apt-get" >&2
exit 0
