#!/bin/sh
# Install the Debian packages that the environment and the tests need, as root; those present are left alone.
# Without mmdet and slurm that is only what makes a virtual environment, where Debian's python3 comes without it.
set -eu

packages=""
"${PYTHON:-python3}" -c "import ensurepip" 2>/dev/null || packages="$packages python3-venv"
case ",${US3L_REQUIRE:-}," in
    *,mmdet,*) packages="$packages libgl1 libglib2.0-0" ;;  # OpenCV, which mmcv imports
esac
case ",${US3L_REQUIRE:-}," in
    *,latex,*) packages="$packages texlive-latex-base texlive-latex-recommended" ;;  # compiles our tables
esac
case ",${US3L_REQUIRE:-}," in
    *,chromium,*) packages="$packages chromium" ;;  # opens our page
esac
case ",${US3L_REQUIRE:-}," in
    *,slurm,*) bash "$(dirname "$0")/../tests/slurm/cluster.sh" install ;;  # a cluster for its tests, none started
esac

missing=""
for package in $packages; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done

if [ -z "$missing" ]; then
    echo "system packages: nothing to install"
elif ! command -v apt-get >/dev/null; then
    echo "error: install what Debian calls$missing by this system's package manager" >&2
    exit 2
elif [ "$(id -u)" -ne 0 ]; then
    echo "error: run as root: apt-get install$missing" >&2
    exit 2
else
    echo "system packages: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # shellcheck disable=SC2086  # a list of words
    { apt-get -q update && apt-get -q -y --no-install-recommends install $missing; } </dev/null >"$log" 2>&1 || {
        cat "$log" >&2
        echo "error: apt-get could not install$missing" >&2
        exit 1
    }
fi
