#!/bin/sh
# Install fmnet from wheels alone into a new environment; needs no network.
# sh containers/install.sh WHEELS ENVIRONMENT [predict|train]
set -eu
wheels=$1 environment=$2
extra=$([ "${3:-predict}" = train ] && echo '[train,sign]' || echo '[bold,sign]')
python3 -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \
    --no-compile --find-links "$wheels" "fmnet$extra"
"$environment/bin/python" -m pip check --disable-pip-version-check
