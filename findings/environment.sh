# Sourced by the findings: a virtual environment of pinned packages in a temporary folder that goes away at the end.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# install PACKAGE==VERSION ...
install() {
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    cd "$folder"
}

# Runs the Python program on stdin; its asserts are what fails if the behaviour changes.
run() {
    "$folder/venv/bin/python" -
}
