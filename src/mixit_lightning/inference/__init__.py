"""Using a trained separator: recordings of any length, rate and number of channels, in memory or in files."""

from .separator import Separator

__all__ = ["Separator"]
