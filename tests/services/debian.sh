#!/bin/sh
# Installs the servers that `make test-services` takes from Debian, without starting any: a machine where somebody runs
# tests is not asked for a database. Arguments: package names. Needs root.
set -eu

policy=/usr/sbin/policy-rc.d  # What a package asks before it starts its server; 101 says no.
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q --yes --no-install-recommends "$@"
# Nor at the next start of the machine.
if command -v systemctl > /dev/null; then
    for package in "$@"; do
        systemctl disable --quiet "$package" 2> /dev/null || true
    done
fi
