import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("harness")


def test_sides_take_turns_and_ratios_are_those_of_the_rounds(harness, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: clock[0])
    order = []

    def side(name, seconds):
        def call():
            order.append(name)
            clock[0] += seconds * (1 + len(order) / 100)  # a machine that gets slower

        return call

    times = harness.in_turns({"fast": side("fast", 1), "slow": side("slow", 3)}, rounds=4, seconds=0.1)
    assert order[4:] == ["fast", "slow", "slow", "fast"] * 2  # after two calls each to warm up
    ratio = harness.Spread.ratio(times["slow"], times["fast"])
    assert ratio.least == pytest.approx(3, rel=0.02)
    assert ratio.most == pytest.approx(3, rel=0.02)
    assert harness.medians(times)["slow"] == pytest.approx(3.3, rel=0.05)


def test_short_calls_are_repeated_within_a_round(harness, monkeypatch):
    clock, calls = [0.0], [0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: clock[0])

    def call():
        calls[0] += 1
        clock[0] += 0.01

    times = harness.in_turns({"short": call}, rounds=3, seconds=0.1)
    assert calls[0] == 2 + 3 * 10
    assert times["short"] == pytest.approx([0.01] * 3)


@pytest.mark.parametrize(
    ("median", "goal", "at_most", "met"),
    [(3, 2, False, True), (3, 4, False, False), (3, 2, True, False), (3, None, False, None)],
)
def test_a_goal_is_met_by_the_median(harness, median, goal, at_most, met):
    row = harness.Row("how fast", "a peer", harness.Spread(median, 1, 9), goal, at_most)
    assert row.met is met
    assert ("NOT met" in harness.cells(row)[3]) == (met is False)


@pytest.mark.slow
def test_the_table_is_printed_and_kept_with_commit_and_hardware(tmp_path):
    command = [sys.executable, BENCHMARKS / "all.py", "--quick", "--out", tmp_path, "startup", "loss_memory"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "distance to the limit" in printed
    record = json.loads((tmp_path / "results.json").read_text())
    assert {"commit", "hardware", "versions", "date", "load_before"} <= record.keys()
    assert len(record["rows"]) == 4
    assert all(row["met"] for row in record["rows"])
    assert (tmp_path / "table.md").read_text().count("\n") == 2 + 4


def test_a_question_that_nobody_asks_is_refused(tmp_path):
    command = [sys.executable, BENCHMARKS / "all.py", "--out", tmp_path / "out", "weather"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "there is no weather" in answer.stderr
    assert not (tmp_path / "out").exists()
