"""A sweep of edits, from plan to artefacts: embedded, compared with the unedited model and with baselines, written.

A perturbation is the sweep whose features and doses come from the difference of two conditions: it steers control
samples toward treated ones.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from .closeness import perturbation_effects
from .context import SteeringContext
from .edit_settings import edit_settings
from .effects import sweep_effects
from .embed import SteeredSamples
from .off_target import off_target_tables
from .plan import SteeringPlan, target_of
from .steered import with_settings, write_steered, write_tables


def steer_samples(context: SteeringContext, plan: SteeringPlan) -> pd.DataFrame:
    """Write steered.h5ad and, in ``steering/``, effects.csv and off_target.csv with its kin; return the effects.

    A perturbation writes perturbation.h5ad, perturbation.csv and perturbation_off_target.csv in their place, the last
    for the strengths that are best on select.

    Raises
    ------
    BiosaeError
        If features, columns, values or parts do not exist, before anything is embedded.
    """
    plan = replace(plan, target=target_of(plan, context.batch_key))
    settings = edit_settings(context, plan)
    steered = SteeredSamples.compute(context, plan, settings)
    write_steered(context, plan, steered)
    effects = (perturbation_effects if plan.is_perturbation else sweep_effects)(context, plan, steered)
    effects = with_settings(effects, settings)
    write_tables(context.folder, {"perturbation" if plan.is_perturbation else "effects": effects})
    if plan.is_perturbation:
        settings = {key: settings[key] for key in effects.loc[effects["best_on_select"], "key"].unique()}
    tables = off_target_tables(context, plan, settings)
    tables["off_target"] = with_settings(tables["off_target"], settings)
    prefix = "perturbation_" if plan.is_perturbation else ""
    write_tables(context.folder, {prefix + name: table for name, table in tables.items()})
    return effects
