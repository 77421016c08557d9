"""Drawings: the values in them, and the words below them."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mixit_lightning.report.plots import (
    Line,
    curve_panels,
    draw_active,
    draw_curves,
    draw_histogram,
    draw_levels,
    draw_shares,
    inline_plots,
    line_style,
    separation_panels,
)
from mixit_lightning.report.runs import Run, read_run

from ..helpers.runs import LABELS, make_results, make_runs, write_json


def separations():
    """Examples of one source, of two and of none, given to three outputs."""
    rows = [  # sources, active outputs, shares
        (1, 1, 0.0, 1.0, 0.0),
        (1, 1, 0.9, 0.02, 0.08),
        (1, 2, 0.3, 0.2, 0.5),
        (1, 3, np.nan, np.nan, np.nan),
        (2, 1, 0.1, 0.6, 0.3),
        (2, 3, 0.4, 0.2, 0.4),
        (0, 0, 0.7, 0.2, 0.1),
    ]
    columns = ["num_references", "num_active_outputs", *(f"energy_share_{n}" for n in (1, 2, 3))]
    return pd.DataFrame(rows, columns=columns).assign(name=[f"e{number}" for number in range(len(rows))])


def plots_of(examples):
    """The plots of over-separation of a run."""
    return inline_plots("x", separation_panels([Run("run", None, {}, None, examples, None)]))


@pytest.fixture
def axes():
    return Figure().subplots()


@pytest.fixture
def runs(tmp_path):
    return make_runs(tmp_path)


def read(runs):
    return [read_run(label, run) for label, run in zip(LABELS, runs, strict=True)]


def points(axes):
    """The examples that are drawn, run by run."""
    return [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]


def test_curves_keep_the_colour_of_their_run(axes):
    series = pd.Series([1.0, 2.0], index=pd.Index([0.5, 1.0], name="hours"))
    places = [0, 2, 3, 4, 5, 6]
    draw_curves(axes, [Line(series, place) for place in places], "loss", "")
    assert [line.get_color() for line in axes.lines] == [line_style(place)["color"] for place in places]
    assert list(axes.lines[0].get_xdata()) == [0.5, 1.0] and axes.get_xlim()[0] == 0
    assert axes.get_xlabel() == "hours of training"
    assert len({str(line_style(place)) for place in range(20)}) == 20


def test_a_long_curve_is_thinned_and_keeps_its_end(axes):
    series = pd.Series(np.arange(1500.0), index=pd.RangeIndex(1500, name="step"))
    draw_curves(axes, [Line(series, 0, "training", smooth=True)], "loss", "")
    faint, smooth = (line.get_xdata() for line in axes.lines)
    assert len(faint) == len(smooth) == 500 and faint[-1] == smooth[-1] == 1499
    expected = series.ewm(span=30).mean()
    np.testing.assert_allclose(axes.lines[1].get_ydata(), expected[smooth])


def test_curves_that_a_run_lacks_are_named(runs):
    path = runs[2] / "metrics.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "val/momi" not in line))
    panels, notes = curve_panels(read(runs), "pesq")
    assert len(panels) == 6
    assert "val/momi is not in the metrics.csv of third." in notes
    assert f"val/pesq is not in the metrics.csv of {', '.join(LABELS)}." in notes
    assert not any("different objectives" in note for note in notes)
    write_json(runs[1] / "results.json", make_results() | {"objective": "pit"})
    assert any("different objectives" in note for note in curve_panels(read(runs), "momi")[1])


def test_hours_are_those_of_the_curves_and_a_repeated_step_counts_once(runs, axes):
    lines = ["step,seconds,metric,value", "1,7200,val/loss,5", "2,9000,val/loss,4", "2,10800,val/loss,3"]
    (runs[0] / "metrics.csv").write_text("\n".join(lines))
    panels, _ = curve_panels(read(runs), "si_snri")
    panels[1].draw(axes)
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[2, 5], [3, 3]])


def test_histograms_count_all_finite_examples_and_mark_median_and_tenth(axes):
    values = np.random.default_rng(0).normal(5, 3, 400)
    runs = [pd.Series(some, name="si_snri") for some in (values, np.append(values + 1, [np.nan] * 3), [np.nan])]
    caption = draw_histogram(axes, runs)
    marks = [line.get_xdata()[0] for line in axes.lines]
    expected = [*np.percentile(values, [50, 10]), *np.percentile(values + 1, [50, 10])]
    assert marks == pytest.approx(expected)
    assert len(axes.patches) == 2
    assert "run 1: median" in caption and "400 examples (3 without a finite value" in caption
    assert axes.get_xlabel() == "SI-SNRi, dB"
    alone = Figure().subplots()
    draw_histogram(alone, runs[:1])
    assert sum(patch.get_height() for patch in alone.patches[1:]) == 400


def test_trends_are_means_over_neighbouring_levels(axes):
    levels = np.random.default_rng(0).uniform(-10, 10, 400)
    runs = [np.stack([levels, slope * levels], 1) for slope in (1.0, -0.5)]
    caption = draw_levels(axes, [*runs, np.empty((0, 2))], "si_snri")
    trends = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 10]
    for line, slope in zip(trends, (1.0, -0.5), strict=True):
        np.testing.assert_allclose(line.get_ydata(), slope * line.get_xdata(), atol=1e-9)
        assert np.all(np.diff(line.get_xdata()) > 0)
    assert "400 examples of each run." in caption
    assert [len(some) for some in points(axes)] == [400, 400, 0]


def test_many_examples_are_thinned_as_points_only(axes):
    rng = np.random.default_rng(0)
    caption = draw_levels(axes, [rng.normal(0, 5, (3000, 2)) for _ in range(4)], "si_snri")
    assert sum(map(len, points(axes))) == 2400
    assert "one in 5 is drawn" in caption


def test_grid_counts_the_active_outputs_of_each_number_of_sources(axes):
    table = separations()[:6]
    caption = draw_active(axes, table["num_references"].to_numpy(), table["num_active_outputs"].to_numpy(), 3)
    printed = {text.get_position(): text.get_text() for text in axes.texts}
    columns = [[printed[column, row] for row in range(4)] for column in range(2)]
    assert columns == [["0", "50", "25", "25"], ["0", "50", "0", "50"]]
    strengths = {patch.get_xy(): patch.get_facecolor()[3] for patch in axes.patches}
    assert strengths[-0.5, 0.5] == pytest.approx(2 * strengths[-0.5, 1.5]) and strengths[0.5, 1.5] == 0
    outlined = {patch.get_xy() for patch in axes.patches if patch.get_linewidth() > 1}
    assert outlined == {(-0.5, 0.5), (0.5, 1.5)}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    # One of six has fewer than its sources, two as many, three more.
    for piece in ("6 examples", "17 % are under-separated", "33 % equal", "50 % over-separated"):
        assert piece in caption, piece


def test_grid_tells_seldom_from_never(axes):
    caption = draw_active(axes, np.full(1000, 2), np.array([2] * 999 + [3]), 4)
    assert [text.get_text() for text in axes.texts] == ["0", "0", "100", "< 1", "0"]
    assert "0 % are under-separated" in caption and "< 1 % over-separated" in caption


def test_shares_run_from_the_loudest_output_to_the_faintest(axes):
    table = separations()[:6]
    caption = draw_shares(axes, table["num_references"].to_numpy(), table.filter(like="energy_share").to_numpy())
    lines = {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}
    np.testing.assert_allclose(lines["1"], [(100 + 90 + 50) / 3, (0 + 8 + 30) / 3, (0 + 2 + 20) / 3])
    np.testing.assert_allclose(lines["2"], [(60 + 40) / 2, (30 + 40) / 2, (10 + 20) / 2])
    assert set(lines) == {"1", "2"}
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    filled = [list(line.get_xdata()) for line in dots if line.get_markerfacecolor() == line.get_color()]
    assert filled == [[1], [1, 2]]
    assert "5 examples" in caption and "1 with silent outputs only are left out" in caption


def test_examples_without_sources_and_silent_outputs_are_left_out():
    active, shares = plots_of(separations())
    assert "6 examples. Of all, 17 % are under-separated" in active.caption
    assert "5 examples" in shares.caption
    for plot in (active, shares):
        assert "var(--" in plot.svg and not re.findall(r"#[0-9a-f]{6}\b", plot.svg)  # colours of the page
    assert len(plots_of(separations().assign(energy_share_2=np.nan))) == 1
    assert plots_of(separations().assign(num_references=0)) == []


@pytest.mark.parametrize("lacking", ["num_references", "num_active_outputs", "energy_share_"])
def test_over_separation_that_was_not_measured_is_left_out(lacking):
    table = separations()
    assert plots_of(table.drop(columns=table.filter(like=lacking).columns)) == []
