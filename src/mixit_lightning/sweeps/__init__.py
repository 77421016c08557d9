"""Sweeps: W&B's files, run by W&B's agents or on this machine alone."""
