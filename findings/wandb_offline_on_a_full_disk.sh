#!/usr/bin/env bash
# An offline run of Weights & Biases on a disk that is full ends as if all were written; its file is cut off.
#
# Guess before it was run: a run whose points cannot be written raises at log() or finish(), or at least its process
# ends with another exit code than 0; wandb has a process of its own that writes, and tells of what went wrong.
# Seen with wandb 0.31.0 on a file system of 2 MiB: 40,000 points are logged, finish() returns, the exit code is 0,
# and the file of the run ends where the file system was full: 2,084,864 bytes of the 14,349,440 that it has elsewhere.
#
# It mounts that file system in a namespace of its own (util-linux' unshare; as root, or where users may make
# namespaces). Exit code 0: it is still so. 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q wandb==0.31.0
mkdir "$folder/small" "$folder/large"
cat >"$folder/log.py" <<'PYTHON'
import sys

import wandb

run = wandb.init(mode="offline", dir=sys.argv[1], project="disk", settings=wandb.Settings(console="off"))
for step in range(40_000):
    run.log({"loss": 1 / (1 + step), "noise scale": 100.0 + step}, step=step)
run.finish()
PYTHON
export HOME=$folder WANDB_CACHE_DIR=$folder/cache WANDB_CONFIG_DIR=$folder/config WANDB_DATA_DIR=$folder/data
export WANDB_ERROR_REPORTING=false DO_NOT_TRACK=true WANDB_SILENT=true
"$folder/venv/bin/python" "$folder/log.py" "$folder/large"
whole=$(stat -c %s "$folder"/large/wandb/offline-run-*/*.wandb)
# shellcheck disable=SC2016 (the inner shell fills these in)
unshare --mount --map-root-user sh -c '
    mount -t tmpfs -o size=2m tmpfs "$1/small"
    "$1/venv/bin/python" "$1/log.py" "$1/small"
    echo "$?" >"$1/code"
    stat -c %s "$1"/small/wandb/offline-run-*/*.wandb >"$1/size"
' sh "$folder"
echo "exit code $(cat "$folder/code"); $(cat "$folder/size") bytes of $whole"
[ "$(cat "$folder/code")" = 0 ] && [ "$(cat "$folder/size")" -lt $((whole / 2)) ]
