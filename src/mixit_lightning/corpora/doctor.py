"""The doctor: findings from names, headers and samples, each with its cure."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.levels import CLIPPED_SHARE
from ..audio.opening import Header, read_header
from ..data.inventory import SUBSET, Finding, Inventory, Item, by_split, examine_names
from ..errors import UserError, visible
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
    findings = list(examine_names(inventory))
    headers: dict[Path, Header] = {}
    findings += examine_headers(inventory, headers)
    # What two ways of looking both see of a file is said once; one way may have several things to say of it.
    seen = {(finding.check, finding.file) for finding in findings}
    of_samples = examine_samples(inventory, measure_all(inventory, quiet))
    findings += [finding for finding in of_samples if (finding.check, finding.file) not in seen]
    counts = {}
    for split, items in by_split(inventory).items():
        frames = [headers[path] for item in items for path in [next(iter(item.paths.values()))] if path in headers]
        hours = sum(header.frames / header.sample_rate for header in frames) / 3600
        standard = inventory.standard_counts.get(split)
        counts[split] = {"found": len(items), "standard": standard, "hours": round(hours, 4)}
    return SetDiagnosis(inventory.root, counts, findings)


def examine_headers(inventory: Inventory, headers: dict[Path, Header]) -> Iterator[Finding]:
    """Sample rates and lengths; fills `headers` with those that can be read."""
    for item in inventory.items:
        first: Header | None = None
        for path in item.paths.values():
            if not path.is_file():
                continue
            try:
                header = headers[path] = read_header(path, any_channels=inventory.any_channels)
            except UserError as error:
                message = str(error).removeprefix(f"{path}: ").split(";")[0]
                yield Finding("unreadable", "error", str(path), message, "prepare or fetch it again")
                continue
            rate = inventory.sample_rate
            if header.sample_rate < rate or (header.sample_rate > rate and not inventory.may_be_higher):
                yield Finding(
                    "sample_rate",
                    "error",
                    str(path),
                    f"has {header.sample_rate} Hz where {rate} Hz are expected",
                    f"prepare it again at {rate} Hz, or set sample_rate",
                )
            if first and header.frames != first.frames:
                yield Finding(
                    "length",
                    "error",
                    str(path),
                    f"has {header.frames} samples where its mixture has {first.frames}",
                    "prepare this item again",
                )
            first = first or header


def measure_all(inventory: Inventory, quiet: bool) -> list[ItemMeasured]:
    """Read everything, on all cores, with progress."""
    if not inventory.items:
        return []
    measured = {}
    measure = partial(measure_item, any_channels=inventory.any_channels)
    with (
        side_by_side(measure, inventory.items) as results,
        ProgressBar("Scanning", len(inventory.items), quiet=quiet) as progress,
    ):
        for number, one in results:
            measured[number] = one
            progress.advance()
    return [measured[number] for number in range(len(inventory.items))]


def examine_samples(inventory: Inventory, measured: list[ItemMeasured]) -> Iterator[Finding]:
    """Findings from samples."""
    for item, facts in zip(inventory.items, measured, strict=True):
        yield from examine_item(item, facts, inventory)
    yield from identical(inventory, measured)
    groups: dict[str, list[tuple[Item, ItemMeasured]]] = defaultdict(list)
    for item, facts in zip(inventory.items, measured, strict=True):
        groups[item.split].append((item, facts))
    for split, members in groups.items():
        if inventory.mode:
            yield from wrong_mode(inventory, split, members)
        yield from wrong_channel(inventory, split, members)


def examine_item(item: Item, facts: ItemMeasured, inventory: Inventory) -> Iterator[Finding]:
    """Findings from the samples of one item."""
    again = "prepare or record it again"
    for part, problem in facts.problems.items():
        kind = "nan" if "NaN" in problem else "unreadable"
        yield Finding(kind, "error", str(item.paths[part]), problem.split(";")[0], again)
    for part, file in facts.files.items():
        path = str(item.paths[part])
        if file.rms < SILENT:
            yield Finding("silence", "error", path, "is silent: nothing above -70 dB", "leave this item out")
            continue
        if file.clipped > CLIPPED_SHARE:
            share = 100 * file.clipped
            yield Finding("clipping", "warning", path, f"{share:.1f} % of it are cut off at full scale", again)
        if abs(file.mean) > DC_SHARE * file.rms:
            share = 100 * abs(file.mean) / file.rms
            yield Finding("dc", "warning", path, f"has an offset of {share:.0f} % of its RMS", "subtract its mean")
        if inventory.sample_rate > 8000 and file.highs < UPSAMPLED:
            yield Finding(
                "rate",
                "warning",
                path,
                "has nothing above 4 kHz: it was recorded or prepared at 8 kHz and resampled",
                f"prepare it again from the original at {inventory.sample_rate} Hz",
            )
    # Each of the files may be half a step off.
    if facts.difference is not None and facts.difference > (len(item.paths) + 1) / 2:
        mixture, *parts = item.paths
        yield Finding(
            "sum",
            "error",
            str(item.paths[mixture]),
            f"differs from {' + '.join(parts)} by {facts.decibels:.1f} dB: a row joined wrongly, or another gain",
            "prepare this item again",
        )


def identical(inventory: Inventory, measured: list[ItemMeasured]) -> Iterator[Finding]:
    """Files with the same samples, under whatever names."""
    known: dict[bytes, tuple[str, Path]] = {}
    for item, facts in zip(inventory.items, measured, strict=True):
        for part, file in facts.files.items():
            if file.rms < SILENT:
                continue
            path = item.paths[part]
            if file.digest in known:
                split, earlier = known[file.digest]
                kind = "identical" if split == item.split else "shared_files"
                if kind == "identical" and inventory.may_repeat:
                    continue
                yield Finding(
                    kind, "error", str(path), f"holds the same samples as {earlier}", "prepare it again or delete it"
                )
            known.setdefault(file.digest, (item.split, path))


def wrong_mode(inventory: Inventory, split: str, members: list[tuple[Item, ItemMeasured]]) -> Iterator[Finding]:
    """`max` pads one source of nearly every mixture with zeros, `min` pads none."""
    whole = [(item, files) for item, facts in members for files in [facts.files] if len(files) == len(item.paths)]
    padded = [any(file.padded and file.rms > SILENT for file in list(files.values())[1:]) for _, files in whole]
    odd = [item for (item, _), is_padded in zip(whole, padded, strict=True) if is_padded == (inventory.mode == "min")]
    if odd and 2 * len(odd) >= len(whole):
        looks = "max" if inventory.mode == "min" else "min"
        for item in odd[:1]:
            ends = "end" if looks == "max" else "do not end"
            yield Finding(
                "mode",
                "error",
                str(next(iter(item.paths.values()))),
                f"{len(odd)} of {len(whole)} mixtures of {split} look like mode={looks}: sources {ends} in zeros",
                f"set mode={looks}, or prepare mode={inventory.mode}",
            )


def wrong_channel(inventory: Inventory, split: str, members: list[tuple[Item, ItemMeasured]]) -> Iterator[Finding]:
    """Sources were brought to the lists' active levels; other recordings of the same names miss them."""
    offsets = {}
    for number, (item, facts) in enumerate(members):
        levels = [facts.files[part].level for part in list(item.paths)[1:] if part in facts.files]
        if item.levels and len(levels) == len(item.levels) and np.isfinite(levels).all():
            offsets[number] = (levels[0] - levels[1]) - (item.levels[0] - item.levels[1])
    if len(offsets) < FEW:
        return
    typical = float(np.median(np.abs(list(offsets.values()))))
    cure = "prepare it from the wv1 recordings, not wv2"
    if typical > OTHER_CHANNEL:
        item = members[next(iter(offsets))][0]
        yield Finding(
            "channel",
            "error",
            str(next(iter(item.paths.values()))),
            f"active levels of {split} are typically {typical:.1f} dB off those of the lists: "
            "other recordings than the lists name, such as the second microphone's (wv2)",
            cure,
        )
        return
    for number, offset in offsets.items():
        if abs(offset) > ODD_LEVEL:
            item = members[number][0]
            yield Finding(
                "channel",
                "warning",
                str(next(iter(item.paths.values()))),
                f"active levels of its sources are {offset:+.1f} dB off those of the lists: "
                "one is another recording, such as the second microphone's (wv2)",
                cure,
            )
