"""The model card: what a separator is, how well it does, by which rule, and where that comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..report.labels import METRICS, quantities
from ..report.runs import NOT_RECORDED, provenance
from .extra import share_packages

with share_packages():
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

TASK = "audio-to-audio"
"""The Hub's name for separation."""


def model_card(description: Mapping[str, Any]) -> str:
    """A model card in Markdown, with the metadata of the Hub, of a description; see `inference.trained`."""
    settings, results = description["settings"], description.get("results")
    recipe, network = settings.get("recipe") or "unknown data", settings["separator"]
    origin = results or unmeasured(description)
    card = ModelCard.from_template(
        ModelCardData(
            model_name=title(settings, results),
            library_name="mixit-lightning",
            pipeline_tag=TASK,
            tags=["audio", "source-separation", "mixture-invariant-training"],
            eval_results=list(eval_results(recipe, results["metrics"])) if results else None,
        ),
        template_path=str(Path(__file__).with_name("model_card.md")),
        title=title(settings, results),
        recipe=recipe,
        objective=objective(settings.get("objective") or {}),
        network=network["_target_"].rpartition(".")[-1],
        inner=(network.get("network") or {}).get("_target_", "").rpartition(".")[-1],
        settings=settings,
        results=results,
        quantities=quantities(results["metrics"]) if results else [],
        others={name: quantities(part["metrics"]) for name, part in (results or {}).get("other_domains", {}).items()},
        provenance=[(term, text) for term, text in provenance(origin) if results or text != NOT_RECORDED],
    )
    return card.content


def title(settings: Mapping[str, Any], results: Mapping[str, Any] | None) -> str:
    """Title of a separator: objective, training data and network, as far as they have names."""
    network = settings["separator"]["_target_"].rpartition(".")[-1]
    named = (results or {}).get("objective"), settings.get("recipe"), (results or {}).get("separator") or network
    return ".".join(filter(None, named))


def objective(settings: Mapping[str, Any]) -> str:
    """Training objective of a separator in words."""
    share = settings.get("labelled_share")
    if share is None:
        return "not recorded"
    mixtures = f"mixture invariant training (MixIT) on sums of {settings.get('num_mixtures', 2)} recordings"
    if share == 0:
        return f"{mixtures}, without clean sources"
    if share == 1:
        return "permutation invariant training (PIT) on mixtures with their sources"
    return f"{mixtures}, and permutation invariant training (PIT) on the {100 * share:g} % that come with their sources"


def eval_results(recipe: str, metrics: Mapping[str, float | None]) -> list[EvalResult]:
    """The figures as the Hub lists them, those that this package knows and that apply."""
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=recipe,
            dataset_name=f"mixit-lightning, recipe {recipe}",
            dataset_split="test",
            metric_type=name,
            metric_name=METRICS[name][0],
            metric_value=metrics[name],
        )
        for name in METRICS
        if metrics.get(name) is not None
    ]


def unmeasured(description: Mapping[str, Any]) -> dict[str, Any]:
    """What a results.json would say of a separator that has not been evaluated."""
    settings, training = description["settings"], description.get("provenance") or {}
    named = {"recipe": settings.get("recipe"), "seed": settings.get("seed"), "steps": description.get("global_step")}
    return named | {"trained_with": training, "versions": training.get("versions")}
