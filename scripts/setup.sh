#!/usr/bin/env bash
# Makes .venv in this checkout and installs everything into it. Safe to run again: under a second when up to date.
#
#   bash scripts/setup.sh [EXTRAS]      EXTRAS as in pyproject.toml, e.g. train,dev,app (default: $SLAM3R_EXTRAS or train,dev)
#
# PYTHON=python3.12 chooses the interpreter that the environment is made from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted="${1:-${SLAM3R_EXTRAS:-train,dev}}"
python="${PYTHON:-python3}"
log=.venv/setup.log
stamp=.venv/.installed # line 1: what was installed (checksum), line 2: with which extras

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}

# Runs a command with its output in the log; when it fails, shows the end of the log and one line ($1).
quietly() {
    local message="$1"
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "$message (all output: $log)"
    fi
}

checksum() { { cat pyproject.toml setup.py && pwd; } | cksum; }

extras_of_stamp() { sed -n 2p "$stamp" 2>/dev/null || true; }

is_current() {
    [ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$(sed -n 1p "$stamp")" = "$(checksum)" ] || return 1
    local extra
    for extra in ${wanted//,/ }; do
        case ",$(extras_of_stamp)," in *",$extra,"* | *,all,*) ;; *) return 1 ;; esac
    done
}

may_install() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }

apt_install() {
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo -n)
    say "installing system packages: $*"
    "${sudo[@]+"${sudo[@]}"}" apt-get update >>"$log" 2>&1 || true
    quietly "apt-get install $* failed" \
        "${sudo[@]+"${sudo[@]}"}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

make_environment() {
    command -v "$python" >/dev/null || fail "no $python on this machine: install Python 3.10 or newer"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "Python 3.10 or newer is needed, $python is $("$python" -V 2>&1): choose another with PYTHON=python3.12"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        may_install || fail "$python cannot make virtual environments: apt-get install python3-venv"
        apt_install python3-venv
    fi
    say "making .venv with $("$python" -V)"
    rm -rf .venv/bin .venv/lib .venv/lib64 .venv/include .venv/pyvenv.cfg # left by a run that broke off
    quietly "could not make .venv" "$python" -m venv .venv
}

install_packages() {
    say "installing packages [$wanted] (several GB and minutes the first time; log: $log)"
    quietly "pip could not install the packages" \
        .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -e ".[$wanted]"
}

# Open3D's wheel leaves these shared libraries to the system.
package_of() {
    case "$1" in
        libusb-1.0.so*) echo libusb-1.0-0 ;;
        libGL.so*) echo libgl1 ;;
        libEGL.so*) echo libegl1 ;;
        libX11.so*) echo libx11-6 ;;
        libudev.so*) echo libudev1 ;;
        libidn2.so*) echo libidn2-0 ;;
        libgomp.so*) echo libgomp1 ;;
        *) echo "$1" ;;
    esac
}

install_libraries() {
    command -v ldd >/dev/null || return 0 # not Linux
    local missing packages library
    missing="$(ldd .venv/lib/python3*/site-packages/open3d/libOpen3D.so* .venv/lib/python3*/site-packages/open3d/pybind*.so \
        .venv/lib/python3*/site-packages/open3d/cpu/pybind*.so 2>/dev/null |
        sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | grep -v '^lib\(Open3D\|tbb\|torch\|c10\|tensorflow\)' |
        sort -u || true)"
    [ -n "$missing" ] || return 0
    packages="$(for library in $missing; do package_of "$library"; done | sort -u | tr '\n' ' ')"
    may_install || fail "Open3D needs system libraries that are missing; as root: apt-get install ${packages% }"
    # shellcheck disable=SC2086
    apt_install $packages
}

if is_current; then exit 0; fi
[ ! -L .venv ] || fail ".venv is a link to $(readlink .venv), an environment of another checkout that would be pointed" \
    "here: remove the link to get one of its own, or use that environment with PYTHONPATH=$PWD"
mkdir -p .venv
if command -v flock >/dev/null; then # two set-ups at once: the second waits, and then finds the work done
    exec 9>.venv/setup.lock
    flock -n 9 || { say "another set-up is at work here, waiting" && flock 9; }
    if is_current; then exit 0; fi
fi
: >"$log"

[ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null || make_environment
wanted="$(echo "$wanted,$(extras_of_stamp)" | tr ',' '\n' | sed '/^$/d' | sort -u | paste -sd, -)" # what was there stays
rm -f "$stamp"
install_packages
install_libraries
.venv/bin/python scripts/doctor.py --check || fail "the environment is not usable, see the line above"
printf '%s\n%s\n' "$(checksum)" "$wanted" >"$stamp"
say "ready: source .venv/bin/activate"
