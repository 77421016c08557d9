#!/usr/bin/env bash
# The runs of this recipe's README: MixIT, and the supervised baseline at the same budget. Usage: run.sh FOLDER
set -euo pipefail
folder=$(realpath "$1")
cd "$(dirname "$0")/../.."
make train recipe=enhancement data="$folder"
make train recipe=enhancement data="$folder" ARGS="objective=pit"
