"""Separators: networks that turn mixtures (batch, time) into estimates (batch, output, time)."""

from mixit_lightning.separators.asteroid_adapter import AsteroidSeparator
from mixit_lightning.separators.mixture_consistency import mixture_consistency
from mixit_lightning.separators.tdcnpp import TDCNpp

__all__ = ["AsteroidSeparator", "TDCNpp", "mixture_consistency"]
