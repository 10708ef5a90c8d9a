#!/bin/sh
# Run the steps of an image here, in a clean environment and without network, and use what it made.
# sh containers/check.sh FOLDER [predict|train]
set -eu
kind=${2:-predict}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
rm -rf "$folder/wheels-$kind" "$folder/$kind"
sh containers/wheels.sh "$folder/wheels-$kind" "$kind"
# a name space without any network, where the system allows one
alone=$(unshare --map-root-user --net true 2>/dev/null && echo 'unshare --map-root-user --net' || echo env)
echo "installing by: $alone"
$alone sh containers/install.sh "$folder/wheels-$kind" "$folder/$kind" "$kind"
size=$(du -sm "$folder/$kind" | cut -f1)
echo "$kind: $size MB installed, $(ls "$folder/wheels-$kind" | wc -l) wheels"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "$kind" = train ]; then
    (cd "$work" && $alone "$folder/train/bin/fmnet" train experiment=quick)
else
    bundle=$PWD/checkpoints/synthetic
    "$folder/predict/bin/fmnet" make-cohort "$work/people" --n-subjects 4 --seed 1
    (cd "$work" && $alone "$folder/predict/bin/fmnet-predict" "$bundle" people --out scores.tsv)
fi
echo "$kind: works without network"
