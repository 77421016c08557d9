#!/usr/bin/env bash
# The runs of the README's table: MixIT, semi-supervised and PIT at one budget, two seeds each.
set -euo pipefail
cd "$(dirname "$0")/../.."
for seed in 0 1; do
  for objective in mixit semi-supervised pit; do
    make train recipe=synthetic ARGS="objective=$objective seed=$seed"
  done
done
