"""Sweeps on this machine: the W&B sweep files of `sweeps/`, run by Optuna."""
