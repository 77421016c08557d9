#!/usr/bin/env bash
# The paper's comparison, a run a row: anechoic supervised, semi-supervised at p %, unsupervised, mismatched, reverberant
# supervised. Usage: run.sh SPEECH_FOLDER [OUT [SETTING ...]]; again: goes on where it was stopped.
set -euo pipefail
data=$(realpath "$1") out=$(realpath -m "${2:-runs/comparison}")
settings=("${@:3}")
cd "$(dirname "$0")/../.."
mkdir -p "$out"
[ -f "$out/rooms.npz" ] || make rooms rooms="$out/rooms.npz"
runs=()
row() { # LABEL NAME SETTING ...
  make train recipe=reverb-adaptation data="$data" rooms="$out/rooms.npz" ARGS="runs=$out/$2 ${*:3} ${settings[*]-}"
  local found=("$out/$2"/reverb-adaptation/*/)
  [ "${#found[@]}" = 1 ] || { echo "run.sh: $out/$2 holds runs of other settings too; give another OUT"; exit 1; }
  runs+=("$1=${found[0]}")
}
row "PIT, anechoic" pit-anechoic objective=pit
warm="warm_start=${runs[0]##*=}checkpoints/best.ckpt optimizer.lr=1.0e-3 trainer.max_steps=3000"
row "PIT 50 % anechoic, MixIT reverberant" semi-50 objective.labelled_share=0.5
row "the same, sparsity 16" semi-50-sparsity objective.labelled_share=0.5 objective.sparsity=16
row "PIT 10 % anechoic, MixIT reverberant" semi-10 objective.labelled_share=0.1
row "PIT 50 % other sounds, MixIT reverberant" mismatched-50 objective.labelled_share=0.5 \
  '+domains.generated={recipe:synthetic}' labelled=generated
row "MixIT, reverberant" mixit objective=mixit
row "PIT, reverberant" pit-reverberant objective=pit labelled=reverberant
.venv/bin/mixit compare "${runs[@]}" output="$out"
runs=()
row "PIT, anechoic, goes on" warm-pit-anechoic objective=pit "$warm"
row "PIT 50 % anechoic, MixIT reverberant" warm-semi-50 objective.labelled_share=0.5 objective.sparsity=8 "$warm"
row "PIT, reverberant" warm-pit-reverberant objective=pit labelled=reverberant "$warm"
.venv/bin/mixit compare "${runs[@]}" output="$out/adapted"
