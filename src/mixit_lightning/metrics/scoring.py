"""How a task's outputs are scored: example by example, and the metrics over all of them."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..errors import UserError
from .functional import Scores, separation_scores
from .speech import PESQ_MODES, SpeechScores, speech_scores
from .torchmetrics import ScoreMean

PAIRED = "best outputs, one a reference (PIT on SI-SNR); mean over "
FOUND = "best active outputs, one a reference (PIT on SI-SNR); mean over references of such inputs"
RATE = "share of inputs, by their number of outputs above -20 dB of the quietest reference"


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
    def metrics(self) -> dict[str, ScoreMean]:
        """Fresh metrics by name."""


class SeparationScoring(Scoring):
    """Any output may stand for any reference: separation of sources of one kind."""

    def scores(self, estimates: Tensor, references: Tensor, mixtures: Tensor, *, final: bool) -> Scores:
        """The best output for each reference."""
        return separation_scores(estimates, references, mixtures)

    def metrics(self) -> dict[str, ScoreMean]:
        """SI-SNRi over inputs, MSi over references, 1S, oracle remix and over-separation."""
        return {
            "si_snri": ScoreMean("si_snri", f"{PAIRED}inputs with two or more sources"),
            "msi": ScoreMean("si_snri", f"{PAIRED}references of multi-source inputs", "num_references"),
            "one_source": ScoreMean("one_source", "best single output; mean over inputs with one source"),
            "si_snri_oracle_remix": ScoreMean(
                "si_snri_oracle_remix",
                "best remix of all outputs onto the references; mean over inputs with two or more sources",
            ),
            "over_separation": ScoreMean("over_separation", RATE),
        }


class FussScoring(SeparationScoring):
    """As the released FUSS evaluation scores: references whose output is not active are left out of 1S and MSi.

    Source: Wisdom et al., "What's All the FUSS About Free Universal Sound Separation Data?", ICASSP 2021.
    """

    def metrics(self) -> dict[str, ScoreMean]:
        """1S, MSi for 2, 3 and 4 sources and all of them, rates of under-, equal and over-separation."""
        one_source = "best single output, if active; mean over inputs with one source"
        separation = super().metrics()
        return {
            "one_source": ScoreMean("si_snr_found", one_source, num_sources=1),
            "msi": ScoreMean("si_snri_found", FOUND, "num_found"),
            **{f"msi_{count}": ScoreMean("si_snri_found", FOUND, "num_found", count) for count in (2, 3, 4)},
            **{name: ScoreMean(name, RATE) for name in ("under_separation", "equal_separation", "over_separation")},
            **{name: separation[name] for name in ("si_snri", "si_snri_oracle_remix")},
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

    def metrics(self) -> dict[str, ScoreMean]:
        """SI-SNRi, and ESTOI and PESQ with the input's beside them."""
        output, mixture = "output 1, which is the speech; mean over inputs", "the unprocessed input; mean over inputs"
        columns = ("si_snri", "si_snr", "estoi", "input_estoi", "pesq", "input_pesq")
        return {name: ScoreMean(name, mixture if name.startswith("input_") else output) for name in columns}
