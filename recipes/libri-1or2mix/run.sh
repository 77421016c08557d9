#!/usr/bin/env bash
# MixIT and PIT on the prepared set. Usage: run.sh FOLDER, which holds Libri2Mix/
set -euo pipefail
folder=$(realpath "$1")
cd "$(dirname "$0")/../.."
make train recipe=libri-1or2mix data="$folder"
make train recipe=libri-1or2mix data="$folder" ARGS="objective=pit num_outputs=2"
