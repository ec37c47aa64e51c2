"""A sweep of edits, from plan to artefacts: embedded, compared with the unedited model and with baselines, written.

A perturbation is the sweep whose features and doses come from the difference of two conditions: it steers control
samples toward treated ones.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .choosing_samples import rows_of
from .closeness import perturbation_effects
from .context import SteeringContext
from .effects import sweep_effects
from .embed import SteeredSamples
from .off_target import off_target_tables
from .plan import SteeringPlan, target_of
from .settings import sweep_settings
from .steered import provenance, with_settings, write_steered, write_tables

logger = logging.getLogger(__name__)


def run_sweep(context: SteeringContext, plan: SteeringPlan) -> pd.DataFrame:
    """Write steered.h5ad and, in ``steering/``, effects.csv and off_target.csv with its kin; return the effects.

    A perturbation writes perturbation.h5ad, perturbation.csv and perturbation_off_target.csv in their place, the last
    for the strengths that are best on select.

    Raises
    ------
    BiosaeError
        If features, columns, values or parts do not exist, before anything is embedded.
    """
    plan = replace(plan, target=target_of(plan, context.batch_key))
    settings = sweep_settings(context, plan)
    rows, goal = samples_of(context, plan)
    logger.info("%d settings on %d samples", len(settings), len(rows))
    steered = SteeredSamples.compute(context, settings, rows, goal)
    is_sweep, folder = plan.between is None, context.folder
    file = "steered.h5ad" if is_sweep else "perturbation.h5ad"
    write_steered(folder / file, context.table.obs, steered.each(), settings, provenance(context, plan))
    measure = sweep_effects if is_sweep else perturbation_effects
    table = with_settings(measure(context, plan, steered), settings)
    write_tables(folder / "steering", {"effects" if is_sweep else "perturbation": table})
    if not is_sweep:
        settings = {key: settings[key] for key in table.loc[table["best_on_select"], "key"].unique()}
    test = np.intersect1d(rows, rows_of(context.table, ("test",)))
    found = off_target_tables(context, plan, settings, test)
    found["off_target"] = with_settings(found["off_target"], settings)
    write_tables(folder / "steering", {("" if is_sweep else "perturbation_") + name: t for name, t in found.items()})
    return table


def samples_of(context: SteeringContext, plan: SteeringPlan) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rows of the samples to edit, and of the treated ones that a perturbation compares them with.

    Raises
    ------
    DataError
        If a part has no samples, or for a perturbation fewer than two of a condition.
    """
    if plan.between is None:
        return rows_of(context.table, plan.parts), None
    control, treated = (_rows_of_condition(context, plan, value) for value in plan.between)
    return control, treated


def _rows_of_condition(context: SteeringContext, plan: SteeringPlan, value: str) -> np.ndarray:
    by_part = []
    for part in plan.parts:
        rows = rows_of(context.table, (part,))
        rows = rows[context.column(plan.target, rows).group == value]
        if len(rows) < 2:
            message = f"{plan.target}={value} has {len(rows)} samples in the part {part}; at least 2 are needed"
            raise DataError(f"{message}: use more samples or a larger split")
        by_part.append(rows)
    return np.sort(np.concatenate(by_part))
