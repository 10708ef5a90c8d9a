#!/bin/sh
# Gather every wheel that an image needs; the only step that uses the network.
# sh containers/wheels.sh FOLDER [predict|train]
set -eu
wheels=$1
extra=$([ "${2:-predict}" = train ] && echo '[train,sign]' || echo '[bold,sign]')
cd "$(dirname "$0")/.."
python3 -m pip wheel --quiet --disable-pip-version-check --wheel-dir "$wheels" \
    --constraint constraints.txt ".$extra"
# the source itself is built again by nobody: what is installed is this wheel
ls "$wheels"/fmnet-*.whl
