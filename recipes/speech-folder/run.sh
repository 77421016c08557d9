#!/usr/bin/env bash
# The runs of this recipe's README: MixIT, PIT beside it at the same budget, and two speakers always or one or two. Usage: run.sh FOLDER
set -euo pipefail
folder=$(realpath "$1")
cd "$(dirname "$0")/../.."
make train recipe=speech-folder data="$folder"
make train recipe=speech-folder data="$folder" ARGS="objective=pit num_outputs=2 datamodule.source_shares=[0,1]"
for shares in '[0,1]' '[0.5,0.5]'; do
  make train recipe=speech-folder data="$folder" \
    ARGS="objective.sparsity=0 trainer.max_steps=4000 datamodule.source_shares=$shares"
done
