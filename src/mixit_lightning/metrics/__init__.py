"""How well a network separates: functions first, torchmetrics on top, and which of them a task is scored by."""

from .functional import Scores, momi, separation_scores, si_snr
from .scoring import FussScoring, Scoring, SeparationScoring, SpeechScoring
from .speech import SpeechScores, speech_scores
from .torchmetrics import MoMi, ScoreMean

__all__ = [
    "FussScoring",
    "MoMi",
    "ScoreMean",
    "Scores",
    "Scoring",
    "SeparationScoring",
    "SpeechScores",
    "SpeechScoring",
    "momi",
    "separation_scores",
    "si_snr",
    "speech_scores",
]
