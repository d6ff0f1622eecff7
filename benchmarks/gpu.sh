#!/bin/sh
# All rows of docs/performance.md that need a GPU, one table after another (about 20 minutes):
#     sh benchmarks/gpu.sh FOLDER [PYTHON]
# FOLDER has videos of any size; they are packed first, into a temporary folder. One table needs kornia.
set -e
videos=$1 python=${2:-python} here=$(dirname "$0") folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run() { echo; echo "== $*"; "$@"; }
bench() { echo; echo "== unreel bench $*"; "$python" -m unreel bench "$folder/128" "$@"; }

run "$python" -m unreel pack "$videos" "$folder/128"
run "$python" -m unreel pack "$videos" "$folder/256" --short-side 256

small="--device cuda --size 112 --num-frames 16 --batch-size 64"
for network in r3d r21d; do
    run "$python" "$here/whole_step.py" "$folder/128" --methods iic --backbone "$network" $small
done
run "$python" "$here/whole_step.py" "$folder/256" --methods cvrl --backbone r3d50 --device cuda --size 224 --num-frames 16 --batch-size 32
run "$python" "$here/step.py" --backbone r3d $small --methods iic iic-paper cvrl dual moco byol trio

for switch in compile=off channels_last=off fused=off,read_back=each-step read_back=each-step precision=32-true \
    compile=off,channels_last=off,fused=off,read_back=each-step,precision=32-true; do
    bench --method iic --backbone r3d $small --against "$switch"
done
run "$python" "$here/released_style.py" "$videos" --device cuda --backbone r3d --size 112 --num-frames 16 --workers 8
run "$python" "$here/augment.py" --device cuda
