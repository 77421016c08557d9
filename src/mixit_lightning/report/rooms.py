"""A picture of a bank of rooms: whether they reverberate as asked, and how sound fades with distance."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context

from ..files import replacing
from ..rooms import RoomBank
from .plots import STYLE, new_figure


def draw_bank(bank: RoomBank, path: Path) -> None:
    """Write a PNG with two panels: measured RT60 against what was asked for, and energy against distance."""
    table = bank.table
    energy = [float(np.square(response, dtype=np.float64).sum()) for response in bank.responses]
    with rc_context(STYLE):
        figure, (times, fading) = new_figure(2, height=3.4)
        ends = np.array([table["rt60"].min(), table["rt60"].max()])
        times.scatter(table["rt60"], table["rt60_measured"], s=6, alpha=0.4, linewidths=0)
        times.plot(ends, ends, color="0.3", linewidth=1, label="as asked")
        times.plot(ends, 1.15 * ends, ":", color="0.3", linewidth=1, label="15 % off")
        times.plot(ends, 0.85 * ends, ":", color="0.3", linewidth=1)
        times.set(xlabel="RT60 asked for, s", ylabel="RT60 measured (T30), s")
        times.legend()
        points = fading.scatter(
            table["distance"], 10 * np.log10(energy), s=6, alpha=0.6, linewidths=0, c=table["rt60"], cmap="viridis"
        )
        distances = np.linspace(table["distance"].min(), table["distance"].max(), 100)
        fading.plot(distances, -20 * np.log10(distances), color="0.3", linewidth=1, label="direct sound alone")
        fading.set(xlabel="distance, m", ylabel="energy of the response, dB")
        fading.legend()
        figure.colorbar(points, ax=fading, label="RT60, s")
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=140)
