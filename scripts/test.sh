#!/usr/bin/env bash
# Sets up and runs the tests; arguments go to pytest, e.g. bash scripts/test.sh tests/common -x
#
# Every core runs a test file at a time (8 at most, for the memory's sake); -n 0 runs all in one process.
# The tests of the service start a RabbitMQ of their own. Where it is not installed and this user may (root or sudo
# without a password, and apt-get), it is installed; SLAM3R_TEST_BROKER=0 leaves the system as it is, and they skip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

has_broker() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null; }

install_broker() {
    local run=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        run=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    echo "test: installing RabbitMQ (SLAM3R_TEST_BROKER=0 prevents it)"
    { "${run[@]+"${run[@]}"}" apt-get update || true; } >/dev/null 2>&1
    # RUNLEVEL=1: the package must not start a broker for the whole machine; the tests start their own on a free port.
    "${run[@]+"${run[@]}"}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y --no-install-recommends rabbitmq-server >/dev/null 2>&1
}

bash scripts/setup.sh "${SLAM3R_EXTRAS:-all}"
if [ "${SLAM3R_TEST_BROKER:-1}" != 0 ] && ! has_broker; then
    install_broker || echo "test: no RabbitMQ here, and it cannot be installed: the tests that need one skip"
fi
exec .venv/bin/python -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
