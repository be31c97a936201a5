#!/usr/bin/env bash
# Sets up and reconstructs a room that no training saw with the shipped weights: results/demo.
#   bash scripts/demo.sh [FOLDER OR VIDEO] [key=value ...]      your own photographs instead; knobs in configs/demo.yaml
set -euo pipefail
photos=()
if [[ $# -gt 0 && ($1 != *=* || -e $1) ]]; then
    photos=("photos=$(realpath -- "$1")")
    shift
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python scripts/demo.py "${photos[@]}" "$@"
