"""Caveats of a run that a referee would raise, found from its artefacts."""

from __future__ import annotations

from dataclasses import dataclass

from .run_folder import RunFolder

FEW_SAMPLES = 1_000  # fewer than this and an AUROC of a 5 % class has an interval wider than 0.1
FEW_GROUPS = 5  # too few donors to generalise to the next one
FEW_POSITIVES = 20  # the null of the best of many features reaches 0.76 there
MANY_DEAD = 0.2
POOR_FVU = 0.5


@dataclass(frozen=True)
class Caveat:
    """One question, as a title and a sentence with its numbers."""

    title: str
    text: str


def caveats(run: RunFolder) -> list[Caveat]:
    """The questions that this run leaves open, most serious first."""
    checks = (
        _no_validation,
        _no_groups,
        _host_saw_data,
        _no_labels,
        _one_seed,
        _few_samples,
        _rare_classes,
        _reconstruction,
    )
    return [caveat for check in checks for caveat in check(run)]


def _no_validation(run: RunFolder) -> list[Caveat]:
    parts = run.settings["split"]["n"]
    if parts.get("test", 0):
        return []
    return [Caveat("No held-out samples", "Every score was computed on samples that also trained the features.")]


def _no_groups(run: RunFolder) -> list[Caveat]:
    key = run.settings["split"].get("group_key")
    if key is None:
        if run.settings["data"].get("kind") == "proteins":
            text = (
                "Proteins were held out one by one, so a test protein may have a close relative among those trained on."
            )
            return [Caveat("No held-out homology clusters", text)]
        text = (
            "Samples were held out one by one, so a test cell may come from the same donor, batch or homology "
            "group as a training cell. The scores say nothing about a new donor."
        )
        return [Caveat("No held-out donors", text)]
    n_groups = run.table.obs[key].nunique() if key in run.table.obs else None
    if n_groups is not None and n_groups < FEW_GROUPS:
        return [Caveat("Few groups", f"{key} has {n_groups} values; held-out scores rest on that many replicates.")]
    return []


def _host_saw_data(run: RunFolder) -> list[Caveat]:
    pretrained_on = run.settings["model"].get("pretrained_on")
    if pretrained_on is None:
        text = (
            "The run does not record what the host model was pretrained on. If it saw these samples, "
            "held-out means unseen by the SAE, not unseen by the model."
        )
        return [Caveat("The host may have seen these samples", text)]
    if run.settings["data"]["hash"] in pretrained_on:
        text = "The host model was pretrained on this data set. Held-out means unseen by the SAE only."
        return [Caveat("The host saw these samples", text)]
    return []


def _no_labels(run: RunFolder) -> list[Caveat]:
    if run.labels is not None and not run.labels.empty:
        return []
    text = "Nothing here says what marks a class of samples. Columns of annotations are named with label_keys."
    return [Caveat("No label was scored", text)]


def _one_seed(run: RunFolder) -> list[Caveat]:
    if "stability" in run.scores.columns.get_level_values(0):
        return []
    seed = run.settings.get("seed")
    text = f"Features come from one training run (seed {seed}). Another seed may not find the same ones."
    return [Caveat("One seed", text)]


def _few_samples(run: RunFolder) -> list[Caveat]:
    n = run.table.n_obs
    if n >= FEW_SAMPLES:
        return []
    return [Caveat("Few samples", f"{n:,} samples; intervals are wide and rare programmes are out of reach.")]


def _rare_classes(run: RunFolder) -> list[Caveat]:
    if run.labels is None:
        return []
    classes = run.labels.drop_duplicates(["label", "class"])
    rare = classes[classes["n_positive_test"] < FEW_POSITIVES]
    if rare.empty:
        return []
    named = ", ".join(f"{name} ({n:.0f})" for name, n in zip(rare["class"], rare["n_positive_test"], strict=True))
    text = (
        f"Fewer than {FEW_POSITIVES} test samples: {named}. The best of many features reaches a high AUROC by chance."
    )
    return [Caveat("Rare classes", text)]


def _reconstruction(run: RunFolder) -> list[Caveat]:
    numbers = run.evaluation or {}
    found = []
    if (numbers.get("fvu") or 0) > POOR_FVU:
        text = f"The SAE leaves {numbers['fvu']:.0%} of the activations' variance out; so does everything on this page."
        found.append(Caveat("Poor reconstruction", text))
    if (numbers.get("dead_fraction") or 0) > MANY_DEAD:
        text = f"{numbers['dead_fraction']:.0%} of the features never fire on validation samples."
        found.append(Caveat("Many dead features", text))
    return found
