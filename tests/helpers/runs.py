"""Run folders as training and evaluation leave them, and pages as a browser sees them."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import yaml

from mixit_lightning.report.comparison import compare

SAMPLE_RATE = 8000
HOSTILE = '<script>alert("1")</script> & "quoted".wav'
LABELS = ("first", "second " + HOSTILE, "third")


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.pieces).replace("\N{NARROW NO-BREAK SPACE}", "").split())
        self.drawings = sum("viewbox" in attributes and "width" in attributes for attributes in self.all("svg"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.pieces.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def write_example(folder, generator, references, outputs):
    folder.mkdir(parents=True)
    sounds = {f"reference_{number}": generator.normal(size=4000) * 0.1 for number in range(1, references + 1)}
    mixture = sum(sounds.values())
    # The last output is silent, as MixIT leaves the outputs it does not need.
    sounds |= {f"output_{number}": mixture * (number < outputs) for number in range(1, outputs + 1)}
    for name, samples in {"mixture": mixture, **sounds}.items():
        soundfile.write(folder / f"{name}.wav", samples, SAMPLE_RATE)


def make_results():
    return {
        "recipe": "wsj0-2mix",
        "run": "mixit.wsj0-2mix.tdcnpp-1a2b3c",
        "objective": "mixit",
        "separator": "tdcnpp",
        "metrics": {"si_snri": 12.346, "msi": 9.87, "one_source": None, "momi": -3.21, "other_thing": 0.5},
        "selection_rule": "highest val/si_snri",
        "checkpoint": "checkpoints/best.ckpt",
        "num_examples": 3000,
        "seed": 17,
        "commit": "abcdef0",
        "versions": {"torch": "2.11.0"},
        "hardware": {"gpu": "H200"},
        "wall_time": {"train": 7260.0, "evaluate": None},
        "steps": 200000,
        "trained_with": {"commit": "1234567", "hardware": {"cpu": "EPYC", "gpus": []}},
    }


def make_run(run, results):
    generator = np.random.default_rng(0)
    write_example(run / "examples" / "two", generator, references=2, outputs=4)
    write_example(run / "examples" / "one", generator, references=1, outputs=2)
    listing = [
        {"folder": "two", "name": HOSTILE, "why": "worst", "metrics": {"si_snri": -1.5}, "matched": {"1": 3, "2": 1}},
        {"folder": "one", "name": "b", "why": "one source", "metrics": {"si_snri": None}, "matched": {"1": 1}},
    ]
    write_json(run / "examples" / "examples.json", listing)
    write_json(run / "results.json", results)
    (run / "config.yaml").write_text("objective: mixit\nshare: <b>\n", encoding="utf-8")
    curves = ["step,seconds,metric,value"]
    for step in range(0, 3000, 10):
        curves.append(f"{step},{step / 2},train/loss,{-step / 300 + generator.normal()}")
        if step % 500 == 0:
            curves += [f"{step},{step / 2},val/{name},{step / 300}" for name in ("loss", "pit_loss", "si_snri", "momi")]
    (run / "metrics.csv").write_text("\n".join(curves), encoding="utf-8")
    examples = ["name,num_references,duration,input_si_snr,si_snr,si_snri,one_source,momi,si_snri_oracle_remix,"]
    examples[0] += "num_active_outputs,energy_share_1,energy_share_2"
    examples += [f"e{i},2,4.0,{generator.normal()},1,{10 + generator.normal()},,,,2,0.3,0.7" for i in range(50)]
    examples += [f"s{i},1,4.0,,,,30.0,,,2,0.9,0.1" for i in range(5)]
    (run / "examples.csv").write_text("\n".join(examples), encoding="utf-8")
    return run


def make_runs(folder, count=3):
    """Runs over the same test mixtures, with scores, figures, settings and outputs of their own."""
    runs = [make_run(folder / f"run{number}", make_results()) for number in range(count)]
    levels = np.random.default_rng(0).normal(0, 5, 50).round(4)
    for number, run in enumerate(runs):
        examples = pd.read_csv(run / "examples.csv")
        examples.loc[:49, "input_si_snr"] = levels
        examples.loc[:49, "si_snri"] += number
        examples.to_csv(run / "examples.csv", index=False)
        config = {"run": run.name, "seed": number, "objective": {"name": HOSTILE, "share": number / 4}, "rooms": None}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    return runs


def make_page(runs, labels=LABELS, **options):
    """The page on which runs are compared."""
    target = runs[0].parent / "out"
    compare(list(zip(labels, runs, strict=False)), target, **options)
    return Page(target / "comparison.html")
