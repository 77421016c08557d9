"""How a task's outputs are scored: example by example, and the metrics over all of them."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..errors import UserError
from .functional import Scores, separation_scores
from .speech import PESQ_MODES, SpeechScores, speech_scores
from .torchmetrics import (
    EqualSeparation,
    FoundMSi,
    FoundOneSource,
    MSi,
    OneSource,
    OracleRemix,
    OverSeparation,
    ScoreMean,
    SISNRi,
    UnderSeparation,
)


class Scoring(ABC):
    """Scores of single mixtures with references; recipes choose one by `scoring._target_`."""

    @abstractmethod
    def scores(self, estimates: Tensor, references: Tensor, mixtures: Tensor, *, final: bool) -> Any:
        """A named tuple of columns `(batch,)` or `(batch, output)`, with `num_references` and `mixing_matrix`.

        Args:
            estimates: `(batch, output, time)`.
            references: `(batch, reference, time)`, silent where there are none.
            mixtures: `(batch, time)`.
            final: whether this is the test, where what takes long is computed too.
        """

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """Fresh metrics, with the method `add_scores`, by name."""


class SeparationScoring(Scoring):
    """Any output may stand for any reference: separation of sources of one kind."""

    def scores(self, estimates: Tensor, references: Tensor, mixtures: Tensor, *, final: bool) -> Scores:
        """The best output for each reference."""
        return separation_scores(estimates, references, mixtures)

    def metrics(self) -> dict[str, Any]:
        """SI-SNRi, MSi, 1S, oracle remix and over-separation."""
        return {
            "si_snri": SISNRi(),
            "msi": MSi(),
            "one_source": OneSource(),
            "si_snri_oracle_remix": OracleRemix(),
            "over_separation": OverSeparation(),
        }


class FussScoring(SeparationScoring):
    """As the released FUSS evaluation scores.

    Source: Wisdom et al., "What's All the FUSS About Free Universal Sound Separation Data?", ICASSP 2021.
    """

    def metrics(self) -> dict[str, Any]:
        """1S, MSi for 2, 3 and 4 sources and all of them, rates of under-, equal and over-separation."""
        return {
            "one_source": FoundOneSource(),
            "msi": FoundMSi(),
            **{f"msi_{count}": FoundMSi(count) for count in (2, 3, 4)},
            "under_separation": UnderSeparation(),
            "equal_separation": EqualSeparation(),
            "over_separation": OverSeparation(),
            "si_snri": SISNRi(),
            "si_snri_oracle_remix": OracleRemix(),
        }


class SpeechScoring(Scoring):
    """The first output is the speech: enhancement.

    Args:
        sample_rate: Hz; PESQ knows 8000 and 16000.

    Raises:
        UserError: another rate.
    """

    def __init__(self, sample_rate: int) -> None:
        if sample_rate not in PESQ_MODES:
            raise UserError(f"sample_rate={sample_rate}: PESQ is defined for 8000 and 16000 Hz; set one of them")
        self.sample_rate = sample_rate

    def scores(self, estimates: Tensor, references: Tensor, mixtures: Tensor, *, final: bool) -> SpeechScores:
        """The first output against the first reference."""
        return speech_scores(estimates, references, mixtures, self.sample_rate, perceptual=final)

    def metrics(self) -> dict[str, Any]:
        """SI-SNRi, and ESTOI and PESQ with the input's beside them."""
        output, mixture = "output 1, which is the speech; mean over inputs", "the unprocessed input; mean over inputs"
        return {
            "si_snri": ScoreMean("si_snri", output),
            "si_snr": ScoreMean("si_snr", output),
            "estoi": ScoreMean("estoi", output),
            "input_estoi": ScoreMean("input_estoi", mixture),
            "pesq": ScoreMean("pesq", output),
            "input_pesq": ScoreMean("input_pesq", mixture),
        }
