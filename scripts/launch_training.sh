# Functions of the train_*.sh scripts; sourced, not run.

fail() {
    echo "error: $*" >&2
    exit 2
}

# A data set's folder: the environment variable that may hold it, and the module that writes it (by default to data/).
need_data() {
    local name="$1" module="$2" folder="${!1:-data/$2}"
    [ -f "$folder/dataset.json" ] ||
        fail "no data set in $folder: give its folder as $name=DIR, or write it with python -m data_process.$module"
    export "$name=$folder"
}

# Weights by the name of the variable: a file or folder must exist, a hub id (owner/name) is fetched later.
need_weights() {
    local name="$1" source="${!1:-}"
    [ -n "$source" ] || return 0
    case "$source" in
    /* | ./* | ../* | ~* | *.pth | *.pt | *.ckpt | *.safetensors)
        [ -e "$source" ] || fail "$name=$source does not exist"
        ;;
    esac
    export "$name"
}

# What both networks of SLAM3R are trained on and begin with.
need_slam3r_inputs() {
    need_data SCANNETPP scannetpp
    need_data ARIA aria
    need_data CO3D co3d
    need_weights DUST3R_WEIGHTS
}

is_debug() {
    local argument
    for argument in "$@"; do
        case "$argument" in debug=true | debug=True) return 0 ;; esac
    done
    return 1
}

# Trains one experiment, $1; the other arguments go to scripts/train.py. Returns 75 when it was asked to stop.
train() {
    local experiment="$1" output="outputs/$1" argument child code=0
    shift
    for argument in "$@"; do
        case "$argument" in output=*) output="${argument#output=}" ;; esac
    done
    local command=(.venv/bin/python)
    local options=("experiment=$experiment" "resume=auto")
    if ! is_debug "$@"; then
        local nproc="${NPROC:-$(.venv/bin/python -c 'import torch; print(torch.cuda.device_count())')}"
        export NNODES="${NNODES:-1}"
        local ranks=$((nproc * NNODES)) wanted=8
        [ "$ranks" -gt 0 ] || fail "no GPU here; try debug=true, or give trainer=cpu and NPROC=1"
        [ "$ranks" -eq "$wanted" ] || echo "$ranks GPUs instead of $wanted: for the published batch multiply" \
            "trainer.accumulate_grad_batches of the recipe (default 1) by $wanted/$ranks, or change data.batch_size"
        if [ "$ranks" -gt 1 ]; then
            # On SIGTERM torchrun gives its workers this long to save.
            export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-300}"
            command=(.venv/bin/torchrun "--nproc-per-node=$nproc" "--nnodes=$NNODES" "--node-rank=${NODE_RANK:-0}"
                "--master-addr=${MASTER_ADDR:-localhost}" "--master-port=${MASTER_PORT:-29500}")
        fi
    fi
    "${command[@]}" scripts/train.py "${options[@]}" "$@" &
    child=$!
    # bash would keep a signal for itself until the command ends.
    trap 'kill -TERM "$child" 2>/dev/null || true' TERM USR1
    while kill -0 "$child" 2>/dev/null; do
        code=0
        wait "$child" || code=$?
    done
    trap - TERM USR1
    if [ -f "$output/checkpoints/requeue" ]; then # torchrun has its own exit code
        if [ -n "${SLURM_JOB_ID:-}" ]; then scontrol requeue "$SLURM_JOB_ID"; fi
        return 75
    fi
    return "$code"
}
