# A function of the eval_*.sh scripts; sourced, not run.

# Scores a model on a benchmark: evaluate BENCHMARK "KEY=VALUE ..." "$@", where the script's own arguments are
# DATA_DIR [OUTPUT_DIR] [key=value ...]. Folders count from where the user is. Exit status 1: a scene failed.
evaluate() {
    local benchmark="$1" fixed="$2"
    shift 2
    if [ $# -lt 1 ] || [ ! -d "$1" ]; then
        [ $# -lt 1 ] || echo "error: $1 is not a folder" >&2
        echo "usage: bash scripts/eval_$benchmark.sh DATA_DIR [OUTPUT_DIR] [key=value ...]" >&2
        exit 2
    fi
    local data output
    data="$(realpath -- "$1")"
    shift
    if [ $# -gt 0 ] && [[ $1 != *=* ]]; then
        case "$1" in /*) output="$1" ;; *) output="$PWD/$1" ;; esac
        shift
    fi
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    bash scripts/setup.sh eval
    # shellcheck disable=SC2086  # fixed holds several words
    exec .venv/bin/python scripts/evaluate.py "benchmark=$benchmark" "benchmark.path=$data" \
        "output=${output:-results/$benchmark}" $fixed "$@"
}
