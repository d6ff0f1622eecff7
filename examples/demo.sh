#!/bin/sh
# The main task, in the commands that a person types. usage: demo.sh OUT [FOLDER OF VIDEOS [MINUTES]]
set -eu
out=$1
videos=${2:-}
minutes=${3:-}
unreel() { printf '\n$ unreel %s\n' "$*"; "$BIN/unreel" "$@"; }

if [ -n "$videos" ]; then
  unreel explore "$videos" ${minutes:+--minutes "$minutes"} # in NAME.unreel; goes on when it is called again
  exit
fi
if [ -e "$out" ]; then
  echo "$out exists already; remove it first: rm -r $out" >&2
  exit 2
fi
mkdir -p "$out"
unreel synth "$out/videos"
unreel explore "$out/videos/train.txt" --out "$out/explored" --no-open -- --steps 300
unreel evaluate retrieval "$out/explored/run" "$out/videos"
printf '\nreport: %s\npage:   unreel serve %s\n' "$out/explored/run/report.html" "$out/explored/index"
