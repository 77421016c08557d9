#!/usr/bin/env bash
# The runs of this recipe's README on one's own sounds. Usage: run.sh BACKGROUNDS FOREGROUNDS OUT
set -euo pipefail
backgrounds=$(realpath "$1") foregrounds=$(realpath "$2") data=$(realpath -m "$3")
cd "$(dirname "$0")/../.."
make prepare recipe=fuss backgrounds="$backgrounds" foregrounds="$foregrounds" data="$data" \
  ARGS="datamodule.duration=5 preparation.counts=[2000,200,400] preparation.snr=[-5,10]"
budget="separator=tdcnpp-small datamodule.duration=5 datamodule.dynamic=true datamodule.batch_size=4 datamodule.num_workers=1
  datamodule.steps_per_epoch=500 optimizer.lr=2.0e-3 trainer.max_steps=3500"
for objective in "objective=mixit" "objective=mixit objective.sparsity=8 datamodule.silent_share=0.2" \
  "objective=mixit objective.sparsity=32 datamodule.silent_share=0.2" "objective=pit"; do
  make train recipe=fuss data="$data" ARGS="$(echo $budget) $objective"
done
