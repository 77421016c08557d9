"""How well a network separates: functions first, torchmetrics on top."""

from .functional import Scores, momi, separation_scores, si_snr
from .torchmetrics import MoMi, MSi, OneSource, OracleRemix, SISNRi

__all__ = ["MSi", "MoMi", "OneSource", "OracleRemix", "SISNRi", "Scores", "momi", "separation_scores", "si_snr"]
