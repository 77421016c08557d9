#!/usr/bin/env bash
# The runs of this recipe's README and their comparisons. Usage: run.sh SPEECH_FOLDER; if stopped, run it again to resume.
set -euo pipefail
data=$(realpath "$1")
cd "$(dirname "$0")/../.."
[ -f rooms.npz ] || make rooms rooms=rooms.npz
scratch=pit-anechoic,semi-50,semi-50-sparsity-16,semi-10,mismatched-50,mixit,pit-reverberant
warm=warm-pit-anechoic,warm-semi-50,warm-pit-reverberant
make reproduce recipe=reverb-adaptation data="$data" rooms=rooms.npz rows=$scratch,$warm
make compare recipe=reverb-adaptation rows=$scratch
make compare recipe=reverb-adaptation rows=$warm ARGS="output=runs/reverb-adaptation/comparison-warm"
