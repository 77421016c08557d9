"""The doctor: findings from names, headers and samples, each with its cure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.levels import CLIPPED_SHARE
from ..data.inventory import SUBSET, Finding, Inventory, Item, by_split, examine_names
from ..errors import visible
from ..pool import side_by_side
from ..progress import ProgressBar
from .samples import ItemMeasured, measure_item

SILENT = 10 ** (-70 / 20)
"""RMS below which a file is silent."""

DC_SHARE = 0.1
"""Constant offset, as a share of the RMS, from which on it is reported."""

UPSAMPLED = 10 ** (-50 / 10)
"""Energy of the highs to that of the mids below which a recording was made at 8 kHz: real speech has -48 dB and more,
what scipy or torchaudio resampled from 8 kHz -52 dB and less, unless it is so quiet that rounding fills the highs."""

FEW = 20
"""Items of a split from which on the levels of all of them together mean something."""

OTHER_CHANNEL = 1.5
"""dB by which active levels are typically off where a set was not made of the recordings that the lists name."""

ODD_LEVEL = 6.0
"""dB by which a single item's active levels are off where others are not."""

Measurement = tuple[Item, ItemMeasured]


@dataclass(frozen=True)
class SetDiagnosis:
    """Findings of the doctor in a set."""

    root: Path
    counts: dict[str, dict[str, Any]]
    """Items found, items of the standard set and hours, by split."""
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return all(finding.severity == "warning" for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """All of it in plain types."""
        return {
            "root": str(self.root),
            "healthy": self.healthy,
            "counts": self.counts,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def show(self, limit: int = 10) -> None:
        """Print a table of the set and the findings, at most `limit` of a kind."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        console = Console(soft_wrap=True)
        table = Table(
            "split", "items", "standard set", "hours", title=escape(visible(str(self.root))), title_justify="left"
        )
        for split, count in self.counts.items():
            note = " (an excerpt)" if count["standard"] and count["found"] < SUBSET * count["standard"] else ""
            table.add_row(split, f"{count['found']}{note}", str(count["standard"] or "-"), f"{count['hours']:.2f}")
        console.print(table)
        printed: Counter[str] = Counter()
        totals = Counter(finding.check for finding in self.findings)
        for finding in self.findings:
            printed[finding.check] += 1
            if printed[finding.check] <= limit:
                print(f"{finding.severity}: {finding.check}: {visible(finding.file)}")
                print(f"  {visible(finding.message)}; {finding.cure}")
            elif printed[finding.check] == limit + 1:
                print(f"{finding.check}: {totals[finding.check] - limit} more; --json lists all")
        errors = sum(finding.severity == "error" for finding in self.findings)
        print(f"{errors} errors, {len(self.findings) - errors} warnings")


def examine(inventory: Inventory, *, quiet: bool = False) -> SetDiagnosis:
    """Look at names, headers and all samples, with progress unless `quiet`."""
    groups: dict[str, list[Measurement]] = {split: [] for split in by_split(inventory)}
    measured = measure_all(inventory, quiet)
    for item, facts in measured:
        groups[item.split].append((item, facts))
    findings = list(examine_names(inventory))
    for item, facts in measured:
        findings += examine_item(item, facts, inventory)
    seen = {(finding.check, finding.file) for finding in findings}  # by their names already
    findings += [finding for finding in identical(inventory, measured) if (finding.check, finding.file) not in seen]
    counts = {}
    for split, members in groups.items():
        if inventory.mode:
            findings += wrong_mode(inventory.mode, split, members)
        findings += wrong_channel(split, members)
        firsts = [next(iter(facts.files.values())) for _, facts in members if facts.files]
        hours = sum(first.frames / first.sample_rate for first in firsts) / 3600
        standard = inventory.standard_counts.get(split)
        counts[split] = {"found": len(members), "standard": standard, "hours": round(hours, 4)}
    return SetDiagnosis(inventory.root, counts, findings)


def measure_all(inventory: Inventory, quiet: bool) -> list[Measurement]:
    """Read everything, on all cores, with progress."""
    items = inventory.items
    if not items:
        return []
    measured = {}
    measure = partial(measure_item, any_channels=inventory.any_channels)
    with side_by_side(measure, items) as results, ProgressBar("Scanning", len(items), quiet=quiet) as progress:
        for number, one in results:
            measured[number] = one
            progress.advance()
    return [(item, measured[number]) for number, item in enumerate(items)]


def error(check: str, path: Path, message: str, cure: str) -> Finding:
    """A finding that makes a set unfit."""
    return Finding(check, "error", str(path), message, cure)


def warning(check: str, path: Path, message: str, cure: str) -> Finding:
    """A finding that a set can be used with."""
    return Finding(check, "warning", str(path), message, cure)


def examine_item(item: Item, facts: ItemMeasured, inventory: Inventory) -> Iterator[Finding]:
    """Findings from headers and samples of one item."""
    again = "prepare or record it again"
    for part, problem in facts.problems.items():
        yield error("nan" if "NaN" in problem else "unreadable", item.paths[part], problem.split(";")[0], again)
    rate, first = inventory.sample_rate, next(iter(facts.files.values()), None)
    for part, file in facts.files.items():
        path = item.paths[part]
        if file.sample_rate < rate or (file.sample_rate > rate and not inventory.may_be_higher):
            message = f"has {file.sample_rate} Hz where {rate} Hz are expected"
            yield error("sample_rate", path, message, f"prepare it again at {rate} Hz, or set sample_rate")
        if first and file.frames != first.frames:
            message = f"has {file.frames} samples where its mixture has {first.frames}"
            yield error("length", path, message, "prepare this item again")
        if file.rms < SILENT:
            yield error("silence", path, "is silent: nothing above -70 dB", "leave this item out")
            continue
        if file.clipped > CLIPPED_SHARE:
            yield warning("clipping", path, f"{file.clipped:.1%} of it are cut off at full scale", again)
        if abs(file.mean) > DC_SHARE * file.rms:
            share = abs(file.mean) / file.rms
            yield warning("dc", path, f"has an offset of {share:.0%} of its RMS", "subtract its mean")
        if rate > 8000 and file.highs < UPSAMPLED:
            message = "has nothing above 4 kHz: it was recorded or prepared at 8 kHz and resampled"
            yield warning("rate", path, message, f"prepare it again from the original at {rate} Hz")
    # Each of the files may be half a step off.
    if facts.difference is not None and facts.difference > (len(item.paths) + 1) / 2:
        _, *parts = item.paths
        message = f"differs from {' + '.join(parts)} by {facts.decibels:.1f} dB: a row joined wrongly, or another gain"
        yield error("sum", item_path(item), message, "prepare this item again")


def identical(inventory: Inventory, measured: list[Measurement]) -> Iterator[Finding]:
    """Files with the same samples, under whatever names."""
    known: dict[bytes, tuple[str, Path]] = {}
    for item, facts in measured:
        for part, file in facts.files.items():
            if file.rms < SILENT:
                continue
            path = item.paths[part]
            if file.digest not in known:
                known[file.digest] = (item.split, path)
                continue
            split, earlier = known[file.digest]
            if split != item.split or not inventory.may_repeat:
                kind = "identical" if split == item.split else "shared_files"
                yield error(kind, path, f"holds the same samples as {earlier}", "prepare it again or delete it")


def wrong_mode(mode: str, split: str, members: list[Measurement]) -> Iterator[Finding]:
    """`max` pads one source of nearly every mixture with zeros, `min` pads none."""
    whole = [(item, facts.files) for item, facts in members if len(facts.files) == len(item.paths)]
    padded = [any(file.padded and file.rms > SILENT for file in list(files.values())[1:]) for _, files in whole]
    odd = [item for (item, _), is_padded in zip(whole, padded, strict=True) if is_padded == (mode == "min")]
    if odd and 2 * len(odd) >= len(whole):
        looks, ends = ("max", "end") if mode == "min" else ("min", "do not end")
        message = f"{len(odd)} of {len(whole)} mixtures of {split} look like mode={looks}: sources {ends} in zeros"
        yield error("mode", item_path(odd[0]), message, f"set mode={looks}, or prepare mode={mode}")


def wrong_channel(split: str, members: list[Measurement]) -> Iterator[Finding]:
    """Sources were brought to the lists' active levels; other recordings of the same names miss them."""
    offsets = []
    for item, facts in members:
        levels = [facts.files[part].level for part in list(item.paths)[1:] if part in facts.files]
        if item.levels and len(levels) == len(item.levels) and np.isfinite(levels).all():
            offsets.append((item, (levels[0] - levels[1]) - (item.levels[0] - item.levels[1])))
    if len(offsets) < FEW:
        return
    typical = float(np.median([abs(offset) for _, offset in offsets]))
    cure = "prepare it from the wv1 recordings, not wv2"
    other = "recording than the lists name, such as the second microphone's (wv2)"
    if typical > OTHER_CHANNEL:
        message = f"active levels of {split} are typically {typical:.1f} dB off those of the lists: another {other}"
        yield error("channel", item_path(offsets[0][0]), message, cure)
        return
    for item, offset in offsets:
        if abs(offset) > ODD_LEVEL:
            message = (
                f"active levels of its sources are {offset:+.1f} dB off those of the lists: one is another {other}"
            )
            yield warning("channel", item_path(item), message, cure)


def item_path(item: Item) -> Path:
    """The file that stands for an item: its mixture."""
    return next(iter(item.paths.values()))
