#!/usr/bin/env bash
# Sets up and runs the tests; arguments go to pytest, e.g. bash scripts/test.sh tests/common -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m pytest "$@"
