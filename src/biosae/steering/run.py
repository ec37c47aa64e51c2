"""The steer stage: a sweep of edits beside its baselines, embedded, compared and written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import class_names
from biosae.artefacts import atomic_write
from biosae.errors import DataError, SettingError

from .activity import activity, rows_of
from .choose import checked_features, ranked_by, read_features
from .context import SteeringContext
from .contrast import Contrast, contrast
from .edits import TokenEdit
from .effects import Subjects, effects
from .off_target import Observed, moved_genes, off_target, read_again
from .ranking_scores import score_to_choose_by
from .setting import Setting, edit_of
from .steered import ORIGINAL, write_steered
from .sweep import Recipe, sweep

logger = logging.getLogger(__name__)

NEED_TARGET = ("difference_in_means", "centring")
NO_HEAD = "not predicted: {} has no expression head"


@dataclass(frozen=True)
class FeatureChoice:
    """How features are chosen: ``by`` a ``score``, at ``random``, from a ``list`` or from a ``file``."""

    by: str
    score: str | None
    descending: bool
    features: tuple[int, ...]
    file: str | None


@dataclass(frozen=True)
class SteeringSweep:
    """What a sweep covers.

    Attributes
    ----------
    target
        Column of obs that steering should bring together; None takes the label of the score, or the batch.
    parts
        Parts of the split to embed; effects are read on ``test``.
    off_target_samples
        Test samples on which other features are read.
    """

    choice: FeatureChoice
    target: str | None
    n_features_list: tuple[int, ...]
    recipe: Recipe
    seeds: tuple[int, ...]
    baselines: tuple[str, ...]
    parts: tuple[str, ...]
    off_target_samples: int


def run_sweep(
    host: SteeringContext,
    plan: SteeringSweep,
    run: Path,
    label_keys: Sequence[str],
    batch_key: str | None,
    features_hash: str,
    embedded: Path,
    seed: int,
) -> pd.DataFrame:
    """Writes steered.h5ad and the tables of ``steering/`` into the run folder; gives effects.csv.

    Parameters
    ----------
    embedded
        Folder that keeps embeddings between calls, for this model, these features and tokens alone.

    Raises
    ------
    BiosaeError
        If features, columns or parts do not exist, before anything is embedded.
    """
    target = target_of(plan, batch_key)
    settings = numbered(plan_settings(host, plan, target, run))
    found = None if target is None else contrast(host.table, target, "steer.target")
    edits = {key: edit_of(setting, found, host.sae.d_in) for key, setting in settings.items()}
    _check_parts(plan)
    samples = rows_of(host.table, plan.parts)
    if found is not None and "centring" in plan.baselines:
        _tell_of_unseen_groups(found, samples)
    logger.info("%d settings on %d samples", len(settings), len(samples))
    names = {key: setting.identity for key, setting in settings.items()}
    embeddings = host.embeddings(embedded, samples, {names[key]: edit for key, edit in edits.items()})
    described = provenance(host, features_hash, plan.parts, target)
    keyed = ((key, samples, embeddings.of(name)) for key, name in {ORIGINAL: ORIGINAL, **names}.items())
    write_steered(run / "steered.h5ad", host.table.obs, keyed, settings, described)
    in_test = (host.table.obs["biosae_part"].astype(str) == "test").to_numpy()[samples]
    subjects = _subjects(host, samples[in_test], embeddings.of(ORIGINAL)[in_test], found, label_keys, batch_key, seed)
    edited = ((key, embeddings.of(name)[in_test]) for key, name in names.items())
    table = with_settings(effects(subjects, edited, len(names)), settings)
    write_tables(run / "steering", {"effects": table})
    test = rows_of(host.table, ("test",))
    groups = dict.fromkeys(
        key for key in (label_beside(host.table.obs, label_keys, batch_key, target), target, batch_key) if key
    )
    write_off_target(host, test, plan.off_target_samples, settings, edits, list(groups), run / "steering", seed)
    return table


def target_of(plan: SteeringSweep, batch_key: str | None) -> str | None:
    """The column that steering should bring together."""
    if plan.target is not None:
        return plan.target
    score = plan.choice.score
    if plan.choice.by == "score" and score is not None and score.startswith("label:"):
        return score.removeprefix("label:").rpartition("/")[0]
    if batch_key is None and (plan.choice.by == "score" or set(NEED_TARGET) & set(plan.baselines)):
        message = "the run has no donor or batch column to steer by; name a column with steer.target="
        raise DataError(f"{message}, or choose by a label: steer.choose.score=label:cell_type/auroc")
    return batch_key


def plan_settings(host: SteeringContext, plan: SteeringSweep, target: str | None, run: Path) -> list[Setting]:
    """The settings of the sweep; features are chosen on samples that report nothing."""
    firing, d_sae = activity(host.table), host.table.n_vars
    choice, counts = plan.choice, list(plan.n_features_list)
    if choice.by == "score":
        name = choice.score or f"label:{target}/ami"
        ranking = ranked_by(score_to_choose_by(name, run, host.table), choice.descending)
    elif choice.by == "random":
        name, ranking = "random", None
    elif choice.by in ("list", "file"):
        name = "steer.choose.features" if choice.by == "list" else str(choice.file)
        named = choice.by == "list"
        ranking = checked_features(list(choice.features), d_sae, name) if named else read_features(choice.file, d_sae)
        counts = sorted({n for n in counts if n < len(ranking)} | {len(ranking)})
    else:
        raise SettingError(f"steer.choose.by must be score, random, list or file, got {choice.by}")
    return sweep(ranking, name, counts, plan.recipe, plan.seeds, plan.baselines, firing, target)


def numbered(settings: list[Setting]) -> dict[str, Setting]:
    """Settings by key: ``s000``, ``s001``, ..."""
    return {f"s{number:03d}": setting for number, setting in enumerate(settings)}


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """``<name>.csv`` for each table."""
    for name, table in tables.items():
        with atomic_write(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")


def with_settings(table: pd.DataFrame, settings: dict[str, Setting]) -> pd.DataFrame:
    """A table keyed by setting with what the setting is beside each key."""
    described = pd.DataFrame(
        {name: [getattr(setting, name) for setting in settings.values()] for name in DESCRIBED}, index=list(settings)
    ).astype({"n_features": "Int64", "seed": "Int64"})
    joined = table.join(described, on="key")
    joined["method"] = joined["method"].fillna(joined["key"])  # the unedited model is no setting
    return joined[["key", *DESCRIBED, *[column for column in table if column != "key"]]]


DESCRIBED = ("method", "chooser", "n_features", "operation", "value", "unit", "seed")


def write_off_target(
    host: SteeringContext,
    samples: np.ndarray,
    n_samples: int,
    settings: dict[str, Setting],
    edits: dict[str, TokenEdit],
    group_by: Sequence[str],
    folder: Path,
    seed: int,
    prefix: str = "off_target",
) -> None:
    """off_target.csv, off_target_features.csv and off_target_genes.csv, from some of the samples drawn at random.

    Parameters
    ----------
    group_by
        Columns of obs whose groups get rows of their own.
    """
    drawn = np.sort(np.random.default_rng(seed).choice(samples, min(len(samples), n_samples), replace=False))
    columns = {key: class_names(host.table.obs[key])[drawn] for key in group_by}
    observed, adapter = Observed.of(drawn, columns), host.adapter
    reading = read_again(host, observed, edits)
    edited = {key: np.array(setting.features or (), dtype=np.int64) for key, setting in settings.items()}
    summary, features = off_target(reading, observed, edited)
    summary["genes"] = adapter.predicts or NO_HEAD.format(adapter.name)
    tables = {prefix: with_settings(summary, settings), f"{prefix}_features": features}
    if adapter.predicts:
        tables[f"{prefix}_genes"] = moved_genes(reading, observed, adapter.token_names)
    write_tables(folder, tables)


def label_beside(
    obs: pd.DataFrame, label_keys: Sequence[str], batch_key: str | None, *others: str | None
) -> str | None:
    """The first label that is none of the other columns and can be kept apart while batches are mixed.

    A label that the batch determines, or that determines it (a condition, a protocol, a donor), is the batch in other
    words. Columns that the samples lack are for those who read them to refuse.
    """
    free = (name for name in label_keys if name not in (batch_key, *others))
    return next((name for name in free if not _says_again(obs, name, batch_key)), None)


def _says_again(obs: pd.DataFrame, name: str, batch_key: str | None) -> bool:
    return name in obs and batch_key in obs and is_nested(class_names(obs[name]), class_names(obs[batch_key]))


def is_nested(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether one column of names determines the other, over the samples that have both (None is missing)."""
    pairs = pd.DataFrame({"one": one, "other": other}).dropna().drop_duplicates()
    return not (pairs["one"].duplicated().any() and pairs["other"].duplicated().any())


def _subjects(
    host: SteeringContext,
    rows: np.ndarray,
    original: np.ndarray,
    target: Contrast | None,
    label_keys: Sequence[str],
    batch_key: str | None,
    seed: int,
) -> Subjects:
    key = None if target is None else target.key
    label_key = label_beside(host.table.obs, label_keys, batch_key, key)
    columns = {"target": key, "label": label_key, "donor": batch_key}
    groups = {
        role: None if column is None else class_names(host.table.obs[column])[rows] for role, column in columns.items()
    }
    return Subjects.of(original, **groups, names={role: name for role, name in columns.items() if name}, seed=seed)


def _tell_of_unseen_groups(target: Contrast, samples: np.ndarray) -> None:
    group = target.group[samples]
    n_unseen = int((~target.is_known[group[group >= 0]]).sum())
    if n_unseen:
        message = (
            "%d of %d samples belong to a %s without train or select samples; centring takes the mean of their own"
        )
        logger.info(message, n_unseen, len(samples), target.key)


def _check_parts(plan: SteeringSweep) -> None:
    if "test" not in plan.parts:
        raise SettingError(f"steer.parts must include test, where effects are read, got {', '.join(plan.parts)}")


def provenance(host: SteeringContext, features_hash: str, parts: Sequence[str], target: str | None) -> dict:
    """What steered.h5ad says of where it came from."""
    made = host.table.uns["biosae"]
    return {
        "sae_hash": made["sae_hash"],
        "features_hash": features_hash,
        "model": made["model"],
        "layer": host.layer,
        "samples": list(parts),
        "target": target or "",
        "version": version("biosae"),
    }
