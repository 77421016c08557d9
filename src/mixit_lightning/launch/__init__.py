"""Where a training runs: here, or as a job of a cluster."""
