#!/usr/bin/env bash
# The runs of this recipe's README on your own sounds. Usage: run.sh BACKGROUNDS FOREGROUNDS OUT
set -euo pipefail
backgrounds=$(realpath "$1") foregrounds=$(realpath "$2") data=$(realpath -m "$3")
cd "$(dirname "$0")/../.."
make prepare recipe=fuss backgrounds="$backgrounds" foregrounds="$foregrounds" data="$data" \
  ARGS="datamodule.duration=5 preparation.counts=[2000,200,400] preparation.snr=[-5,10]"
make reproduce recipe=fuss data="$data" rows=mixit,mixit-sparsity-8,mixit-sparsity-32,pit
