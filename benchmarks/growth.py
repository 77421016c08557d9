"""How do time and memory of the MixIT loss grow with outputs, mixtures, batch and length? Draws a plot.

Forward and backward of ours, of asteroid's (two mixtures only, and up to 8 outputs, after which it takes seconds), and
the limit of `mixit_loss.py`; below, the memory that autograd keeps. What is not on the axis is M=4, K=2, B=4, 4 s.

    python benchmarks/growth.py [--quick] [--out growth.png]
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
from harness import in_turns, medians
from loss_memory import kept
from loss_memory import ours as loss
from matplotlib import pyplot
from mixit_loss import ASTEROID, asteroid, limit, ours, signals

from mixit_lightning.files import replacing
from mixit_lightning.memory import keep_freed_memory

AXES: dict[str, tuple[str, list[int]]] = {
    "outputs": ("outputs M", [2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]),
    "mixtures": ("mixtures K, at M=6", [2, 3, 4, 5]),
    "batch": ("examples B", [1, 2, 4, 8, 16, 32]),
    "time": ("samples", [4000, 8000, 16000, 32000, 64000, 128000]),
}
COLOURS = {"mixit": "tab:blue", "asteroid": "tab:red", "limit": "tab:gray"}


def measure(axis: str, value: int, rounds: int, most: int) -> dict[str, dict[str, float]]:
    """Seconds and bytes of each side."""
    size = {"outputs": 6 if axis == "mixtures" else 4, "mixtures": 2, axis: value}
    both = signals(**size)
    sides = {"mixit": ours(*both), "limit": limit(*both)}
    bytes_kept = {"mixit": kept(loss, *both)}
    if size["mixtures"] == 2 and size["outputs"] <= most:
        sides["asteroid"] = asteroid(*both)
        bytes_kept["asteroid"] = kept(ASTEROID, *both)
    return {"seconds": medians(in_turns(sides, rounds, seconds=0.02)), "bytes": bytes_kept}


def draw(measured: dict[str, dict[int, dict[str, dict[str, float]]]], path: Path) -> None:
    """One column an axis; time above, memory below."""
    mpl.use("Agg")
    figure, panels = pyplot.subplots(2, len(measured), figsize=(4 * len(measured), 6.5), sharey="row", squeeze=False)
    units = {"seconds": (1e-3, "ms, forward and backward"), "bytes": (2**20, "MiB kept for backward")}
    for column, (axis, points) in enumerate(measured.items()):
        for row, (quantity, (unit, label)) in enumerate(units.items()):
            panel = panels[row][column]
            for side, colour in COLOURS.items():
                found = [(x, point[quantity][side] / unit) for x, point in points.items() if side in point[quantity]]
                if found:
                    panel.plot(*zip(*found, strict=True), "o-", color=colour, label=side, markersize=4)
            panel.set_yscale("log")
            if axis in ("batch", "time"):
                panel.set_xscale("log", base=2)
            panel.set_xticks(list(points), [f"{x // 1000}k" if x >= 1000 else str(x) for x in points])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
            panel.set_xlabel(AXES[axis][0])
            if column == 0:
                panel.set_ylabel(label)
    panels[0][0].legend()
    figure.suptitle("Cost of the MixIT loss (M=4 outputs, K=2 mixtures, B=4 examples of 4 s at 8 kHz where not varied)")
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def main() -> None:
    """Measure, draw, and write the numbers beside the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, asteroid up to 5 outputs")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/growth.png"))
    options = parser.parse_args()
    keep_freed_memory()
    rounds, most = (3, 5) if options.quick else (9, 8)
    measured: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for axis, (label, values) in AXES.items():
        print(f"growth with {label}", flush=True)
        measured[axis] = {value: measure(axis, value, rounds, most) for value in values}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draw(measured, options.out)
    with replacing(options.out.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(measured, indent=2) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()
