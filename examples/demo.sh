#!/bin/sh
# The main task, in the commands that a person types. usage: demo.sh OUT [FOLDER OF VIDEOS]
set -eu
out=$1
videos=${2:-}
unreel() { printf '\n$ unreel %s\n' "$*"; "$BIN/unreel" "$@"; }

if [ -e "$out" ]; then
  echo "$out exists already; remove it first: rm -r $out" >&2
  exit 2
fi
mkdir -p "$out"
if [ -n "$videos" ]; then
  unreel inspect "$videos" --out "$out/manifest"
  unreel pretrain "$videos" --out "$out/run" --steps 300
else
  unreel synth "$out/videos"
  unreel inspect "$out/videos" --out "$out/manifest"
  unreel pretrain "$out/videos/train.txt" --out "$out/run" --steps 300
  unreel evaluate retrieval "$out/run" "$out/videos"
  printf '\nreport: %s\n' "$out/run/report.html"
fi
