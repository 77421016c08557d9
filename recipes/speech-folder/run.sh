#!/usr/bin/env bash
# The runs of this recipe's README: MixIT, and PIT beside it at the same budget. Usage: run.sh FOLDER
set -euo pipefail
folder=$(realpath "$1")
cd "$(dirname "$0")/../.."
make train recipe=speech-folder data="$folder"
make train recipe=speech-folder data="$folder" ARGS="objective=pit num_outputs=2 datamodule.source_shares=[0,1]"
