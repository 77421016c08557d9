"""How well a network separates: functions first, torchmetrics on top, and which of them a task is scored by."""

from .functional import Scores, momi, separation_scores, si_snr
from .scoring import FussScoring, Scoring, SeparationScoring, SpeechScoring
from .speech import SpeechScores, speech_scores
from .torchmetrics import (
    EqualSeparation,
    FoundMSi,
    FoundOneSource,
    MoMi,
    MSi,
    OneSource,
    OracleRemix,
    OverSeparation,
    SISNRi,
    UnderSeparation,
)

__all__ = [
    "EqualSeparation",
    "FoundMSi",
    "FoundOneSource",
    "FussScoring",
    "MSi",
    "MoMi",
    "OneSource",
    "OracleRemix",
    "OverSeparation",
    "SISNRi",
    "Scores",
    "Scoring",
    "SeparationScoring",
    "SpeechScores",
    "SpeechScoring",
    "UnderSeparation",
    "momi",
    "separation_scores",
    "si_snr",
    "speech_scores",
]
