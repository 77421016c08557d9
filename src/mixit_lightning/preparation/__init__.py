"""From corpora as they are delivered to prepared sets of mixtures."""

from .jobs import Job, run_jobs

__all__ = ["Job", "run_jobs"]
