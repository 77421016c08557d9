import yaml

from mixit_lightning.cli import main
from mixit_lightning.config import ROOT
from mixit_lightning.report.labels import METRICS


def names_of(panel):
    """What a panel shows, whatever its kind calls it."""
    config = panel["config"]
    if panel["viewType"] == "Parallel Coordinates Plot":
        return [column["accessor"] for column in config["columns"]]
    if panel["viewType"] == "Parameter Importance":
        return [config["targetKey"]]
    return config.get("metrics") or [str(config)]


def test_the_workspace_of_a_recipe_shows_what_its_description_lists(wandb_server, capsys):
    # A recipe that needs recordings, which nobody has here.
    assert main(["dashboard", "recipe=wsj0-2mix", "logger.project=separation"]) == 0
    (view,) = wandb_server.views.values()
    assert (view["entityName"], view["projectName"]) == ("tester", "separation")
    assert f"{wandb_server.url}/tester/separation?nw=" in capsys.readouterr().out
    section = view["spec"]["section"]
    (runs,) = section["runSets"]
    (only,) = runs["filters"]["filters"]
    assert (only["key"], only["op"], only["value"]) == ({"section": "config", "name": "recipe"}, "=", "wsj0-2mix")

    described = yaml.safe_load((ROOT / "sweeps" / "dashboard.yaml").read_text())
    shown = {part["name"]: part["panels"] for part in section["panelBankConfig"]["sections"]}
    assert list(shown) == list(described)
    for heading, part in described.items():
        names = [names_of(panel) for panel in shown[heading]]
        for name in [*part.get("curves", []), *part.get("bars", [])]:
            assert [name] in names
        for outcome in part.get("outcomes", []):
            columns = next(columns for columns in names if columns[-1] == f"summary:{outcome}")
            assert "config:optimizer.value.lr" in columns and len(columns) == len(part["settings"]) + 1
            assert [outcome] in names
        for table in part.get("tables", []):
            assert any(table in str(content) for content in names)
        for panel in shown[heading]:
            if "over" in part:
                assert panel["config"]["xAxis"] == part["over"]
                assert panel["config"]["groupBy"] == "objective_name.value"
    titles = [panel["config"].get("chartTitle") for panels in shown.values() for panel in panels]
    assert f"{METRICS['si_snri'][0]}, dB (val)" in titles


def test_no_account_and_wrong_words_are_explained(wandb_server, monkeypatch, capsys):
    assert main(["dashboard", "recipe=synthetic", "logger.projekt=x"]) == 1
    assert "logger.projekt=x: there is no such key" in capsys.readouterr().err
    with monkeypatch.context() as without:
        without.delenv("WANDB_API_KEY")
        assert main(["dashboard", "recipe=synthetic"]) == 1
    assert "wandb login" in capsys.readouterr().err
    monkeypatch.setattr(wandb_server, "refused", {"UpsertView2": "permission denied"})
    assert main(["dashboard", "recipe=synthetic"]) == 1
    assert "permission denied; " in capsys.readouterr().err
    assert not wandb_server.views
