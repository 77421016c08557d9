import pytest

from mixit_lightning.config import load_config
from mixit_lightning.report.plots import LIGHT, new_figure
from mixit_lightning.sweeps.summary import FAILED, FINISHED, PRUNED, Record, Summary, draw_parameter, draw_progress


def record(name, value, state=FINISHED, **swept):
    words = [f"{key.replace('__', '.')}={of}" for key, of in swept.items()]
    return Record(name, words, value, state, "", 3, 1.0, "folder")


@pytest.fixture
def make(tmp_path):
    """A summary of a sweep over some parameters, of synthetic's default."""

    def make(goal="minimize", **parameters):
        config = {
            "name": "x",
            "command": ["${env}", "mixit", "train", "recipe=synthetic", "${args_no_hyphens}"],
            "method": "bayes",
            "metric": {"name": "val/loss", "goal": goal},
            "parameters": {key.replace("__", "."): specification for key, specification in parameters.items()},
        }
        return Summary(tmp_path, config, load_config([]), [], {"commit": "abc"})

    return make


def points(axes, colour, marker):
    """Places and values of the marks of a colour, and whether they are filled."""
    return [
        (place, value, line.get_markerfacecolor() == colour)
        for line in axes.lines
        if line.get_marker() == marker and line.get_color() == colour
        for place, value in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


RUNS = [
    record("default", -5.0),
    record("run 1", -4.0, optimizer__lr=0.01),
    record("run 2", -6.0, optimizer__lr=0.001),
    record("run 3", None, FAILED, optimizer__lr=0.02),
    record("run 4", -7.0, PRUNED, optimizer__lr=0.003),
]


def test_values_over_a_setting_have_the_default_marked(make):
    summary = make(optimizer__lr={"distribution": "log_uniform_values", "min": 0.0001, "max": 0.1})
    _, (axes,) = new_figure()
    draw_parameter(summary, RUNS, "optimizer.lr", axes)
    assert axes.get_xscale() == "log"
    assert points(axes, LIGHT["series-2"], "D") == [(0.002, -5.0, True)]  # synthetic's own rate
    runs = points(axes, LIGHT["series-1"], "o")
    assert sorted(runs) == [(0.001, -6.0, True), (0.003, -7.0, False), (0.01, -4.0, True)]


def test_options_have_a_place_each(make):
    summary = make(separator={"values": ["tdcnpp", "tdcnpp-small"]})
    runs = [RUNS[0], record("run 1", -4.0, separator="tdcnpp-small"), record("run 2", -6.0, separator="tdcnpp")]
    _, (axes,) = new_figure()
    draw_parameter(summary, runs, "separator", axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["tdcnpp", "tdcnpp-small"]
    assert points(axes, LIGHT["series-2"], "D") == [(1, -5.0, True)]
    assert points(axes, LIGHT["series-1"], "o") == [(1, -4.0, True), (0, -6.0, True)]


@pytest.mark.parametrize(("goal", "best"), [("minimize", [-4.0, -6.0, -6.0]), ("maximize", [-4.0, -4.0, -4.0])])
def test_the_best_so_far_is_of_finished_runs(make, goal, best):
    _, (axes,) = new_figure()
    draw_progress(make(goal, optimizer__lr={"min": 0.0, "max": 1.0}), RUNS, axes)
    (line,) = [line for line in axes.lines if line.get_label() == "best so far"]
    assert list(line.get_ydata()) == best
    assert list(line.get_xdata()) == [1, 2, 4]
    (default,) = [line for line in axes.lines if line.get_label() == "default"]
    assert list(default.get_ydata()) == [-5.0, -5.0]


def test_the_files_are_written_with_whatever_is_known(make, tmp_path):
    summary = make(optimizer__lr={"min": 0.0, "max": 1.0}, num_outputs={"values": [2, 3]})
    for runs in ([record("default", None, FAILED)], [RUNS[0]]):
        summary.write(runs)
        assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "sweep.csv").read_text().splitlines()[0].startswith("run,words,value,state,reason,")
    assert "default: failed" in summary.text([record("default", None, FAILED)])


def test_runs_that_were_all_stopped_are_not_better(make):
    text = make(optimizer__lr={"min": 0.0, "max": 1.0}).text([RUNS[0], RUNS[4]])
    assert "better than the default: none of 1" in text
