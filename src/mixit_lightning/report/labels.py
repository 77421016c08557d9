"""What is measured, what it is called on every page, plot and dashboard, and how it is written."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What each figure is called on the page and what it means; in decibels, higher is better, unless UNITS says otherwise.
METRICS = {
    "si_snri": ("SI-SNRi", "improvement over the mixture, outputs matched to references"),
    "msi": ("MSi", "SI-SNR improvement, inputs of several sources only"),
    "msi_2": ("MSi, 2 sources", "SI-SNR improvement, inputs of two sources"),
    "msi_3": ("MSi, 3 sources", "SI-SNR improvement, inputs of three sources"),
    "msi_4": ("MSi, 4 sources", "SI-SNR improvement, inputs of four sources"),
    "one_source": ("1S", "SI-SNR (not an improvement) of inputs that hold one source"),
    "momi": ("MoMi", "improvement of the mixtures recovered from their mixture (MoM)"),
    "si_snri_oracle_remix": ("Oracle remix", "SI-SNRi after summing outputs as suits the references best"),
    "si_snr": ("SI-SNR", "of the outputs matched to references"),
    "input_si_snr": ("Input SI-SNR", "of the unprocessed mixture"),
    "estoi": ("ESTOI", "intelligibility of the speech output, 0 to 1"),
    "input_estoi": ("Input ESTOI", "of the unprocessed mixture"),
    "pesq": ("PESQ", "quality of the speech output, 1 to 4.6"),
    "input_pesq": ("Input PESQ", "of the unprocessed mixture"),
    "under_separation": ("Under-separation", "inputs with fewer active outputs than sources"),
    "equal_separation": ("Equal separation", "inputs with as many active outputs as sources"),
    "over_separation": ("Over-separation", "inputs with more active outputs than sources"),
}
UNITS = dict.fromkeys(("estoi", "input_estoi"), "") | dict.fromkeys(("pesq", "input_pesq"), "MOS")
UNITS |= dict.fromkeys(("under_separation", "equal_separation", "over_separation"), "%")  # of a share from 0 to 1
OBJECTIVES = {"mixit": "MixIT", "pit": "PIT"}
IMPROVEMENTS = ("si_snri", "momi", "si_snri_oracle_remix")  # the first that was measured has its distribution shown

NOT_APPLICABLE = "—"


class Quantity(NamedTuple):
    """A measured figure, ready to print."""

    label: str
    text: str
    unit: str
    meaning: str


def format_number(value: float, digits: int = 2, sign: str = "") -> str:
    """A number with a true minus sign, or `nan` and `inf` as they are; `sign="+"` signs positive ones too."""
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def format_count(value: float) -> str:
    """A count with its thousands set apart."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def format_percent(share: float) -> str:
    """A share from 0 to 1 in whole percent, where seldom is not never."""
    return "< 1" if 0 < share < 0.005 else format_number(100 * share, 0)


def format_duration(seconds: float) -> str:
    """A duration in the two units that matter."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest} s"


def axis_label(name: str) -> str:
    """A metric with its unit."""
    return f"{METRICS[name][0]}, {UNITS.get(name, 'dB')}".removesuffix(", ") if name in METRICS else name


def quantities(metrics: Mapping[str, float | str | None]) -> list[Quantity]:
    """The figures of a metrics entry, known ones first, in the order of METRICS."""
    return [quantity(name, metrics[name]) for name in dict.fromkeys([*METRICS, *metrics]) if name in metrics]


def quantity_rows(runs: Sequence[Mapping[str, float | str | None]]) -> dict[str, list[str]]:
    """All figures that runs have, by their labels, with the value of each run; known ones first."""
    found = dict.fromkeys(name for metrics in runs for name in metrics)
    names = dict.fromkeys(name for name in [*METRICS, *found] if name in found)
    rows = {name: [quantity(name, metrics.get(name)) for metrics in runs] for name in names}
    return {
        items[0].label: [f"{item.text}\N{NO-BREAK SPACE}{item.unit}".strip() for item in items]
        for items in rows.values()
    }


def quantity(name: str, value: float | str | None) -> Quantity:
    """One figure with its label and unit; a metric this module does not know keeps its own name and has no unit."""
    label, meaning = METRICS.get(name, (name.replace("_", " "), ""))
    if not isinstance(value, int | float):
        text = NOT_APPLICABLE if value is None else str(value)
        return Quantity(label, text, "", "not applicable" if value is None else meaning)
    if name in METRICS:
        unit = UNITS.get(name, "dB")
        return Quantity(label, format_number(100 * value, 0) if unit == "%" else format_number(value), unit, meaning)
    return Quantity(label, f"{value:.4g}".replace("-", "\N{MINUS SIGN}"), "", meaning)


def markdown_table(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, of its columns by their titles."""
    rows = [list(columns), ["---"] * len(columns), *zip(*columns.values(), strict=True)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
