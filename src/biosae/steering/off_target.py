"""Side effects of edits: on other features, and on genes where the model predicts their expression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from biosae.models.tokens import TokenBatch, TokenSequences
from biosae.progress import progress_bar
from biosae.saes.codes import Codes

from .context import Column, SteeringContext
from .edit_settings import Setting
from .edits import EditableTokens, TokenEdit, unedited
from .effects import MIN_PER_GROUP, groups_of
from .embed import sharing_tokens
from .plan import SteeringPlan

N_LISTED = 20
NO_HEAD = "not predicted: {} has no expression head"


@dataclass(frozen=True, eq=False)
class Observed:
    """The samples that are read again under every edit, and the groups of them that get numbers of their own.

    Attributes
    ----------
    samples
        ``(n,)`` rows in the data set.
    groups
        Column of obs and its value; the first is ``("all", "")``.
    member
        ``(n_groups, n) bool``.
    """

    samples: np.ndarray
    groups: list[tuple[str, str]]
    member: np.ndarray

    @classmethod
    def of(cls, samples: np.ndarray, columns: Iterable[Column | None]) -> Observed:
        """Take the groups of some columns of the samples that are large enough."""
        groups = list(groups_of(len(samples), columns))
        return cls(samples, [(by, name) for by, name, _ in groups], np.stack([member for *_, member in groups]))

    @property
    def sizes(self) -> np.ndarray:
        """``(n_groups,)`` samples of each group."""
        return self.member.sum(axis=1)


@dataclass(frozen=True, eq=False)
class Reading:
    """Mean codes, and mean predicted expression of genes, before (key None) and under every edit.

    Attributes
    ----------
    codes
        Key -> ``(n_groups, d_sae)``.
    expression
        Key -> ``(n_groups, n_genes)`` over the samples that have the gene; empty for a model that predicts none.
    genes
        ``(n_genes,)`` tokens of the vocabulary.
    n_samples_with_gene
        ``(n_groups, n_genes)``.
    """

    codes: dict[str | None, np.ndarray]
    expression: dict[str | None, np.ndarray]
    genes: np.ndarray
    n_samples_with_gene: np.ndarray


def off_target_tables(
    context: SteeringContext, plan: SteeringPlan, settings: Mapping[str, Setting]
) -> dict[str, pd.DataFrame]:
    """Return ``off_target``, ``off_target_features`` and, for a model that predicts expression, ``off_target_genes``.

    They are of the plan's ``off_target_samples``, drawn at random from the test samples that a setting edits.
    """
    drawn, adapter = _drawn_samples(context, plan), context.adapter
    observed = Observed.of(drawn, _columns(context, plan, drawn))
    reading = read_again(context, observed, {key: setting.edit for key, setting in settings.items()})
    summary, features = off_target(reading, observed, {key: setting.features for key, setting in settings.items()})
    summary["genes"] = adapter.predicts or NO_HEAD.format(adapter.name)
    tables = {"off_target": summary, "off_target_features": features}
    if adapter.predicts:
        tables["off_target_genes"] = moved_genes(reading, observed, adapter.token_names)
    return tables


def read_again(context: SteeringContext, observed: Observed, edits: Mapping[str, TokenEdit]) -> Reading:
    """Read the edited activations with the SAE, and what the model's own head then predicts of every gene."""
    adapter, genes, n_groups = context.adapter, _genes_of(context.sequences, observed.samples), len(observed.groups)
    edits = {None: unedited, **edits}
    codes, n_tokens = np.zeros((len(edits), n_groups, context.sae.d_sae)), np.zeros((n_groups, 1))
    expressed, n_with_gene = np.zeros((len(edits), n_groups, len(genes))), np.zeros((n_groups, len(genes)))
    column = {sample: column for column, sample in enumerate(observed.samples.tolist())}
    with progress_bar("off target", len(observed.samples), "samples") as advance:
        for batch in adapter.batches(context.sequences, observed.samples, context.tokens_per_batch):
            member = observed.member[:, [column[sample] for sample in batch.sample.tolist()]].astype(np.float64)
            n_tokens += member @ batch.content.sum(1, keepdim=True).cpu().numpy()
            for total, sums in zip(codes, _code_sums(context, batch, edits), strict=True):
                total += member @ sums
            if adapter.predicts:
                place, shape = _places_of_genes(batch, genes), (len(batch.sample), len(genes))
                n_with_gene += member @ _added_up(1.0, place, shape)
                bound = sharing_tokens(context.sae, batch, edits.values())
                predicted = adapter.predict_each(batch, context.layer, bound)
                for total, values in zip(expressed, predicted, strict=True):
                    total += member @ _added_up(values.double().cpu().numpy(), place, shape)
            advance(len(batch.sample))
    of_codes = dict(zip(edits, _means(codes, n_tokens), strict=True))
    of_genes = dict(zip(edits, _means(expressed, n_with_gene), strict=True)) if adapter.predicts else {}
    return Reading(of_codes, of_genes, genes, n_with_gene)


def off_target(
    reading: Reading, observed: Observed, edited: Mapping[str, np.ndarray]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the change in mean codes into the edited features and the others, and list the others that change most.

    Parameters
    ----------
    edited
        Key -> the features that the setting edits; none for a baseline without features.

    Returns
    -------
    summary
        One row per setting and group: ``key``, ``group_by``, ``group``, ``n_samples``, ``on_target`` and ``off_target``
        (sums of absolute changes of mean codes over the edited features and over the others), ``n_moved`` (other
        features that make up 90 % of the latter).
    features
        The `N_LISTED` other features that change most over all samples, in all and in each group: ``key``,
        ``group_by``, ``group``, ``feature``, ``before``, ``after``, ``change``.
    """
    summary, listed = [], []
    before = reading.codes[None]
    for key, features in edited.items():
        after = reading.codes[key]
        is_other = np.ones(before.shape[1], dtype=bool)
        is_other[features] = False
        size = np.where(is_other, np.abs(after - before), 0.0)
        most = _most_changed(size[0])
        for n, (group, count) in enumerate(zip(observed.groups, observed.sizes.tolist(), strict=True)):
            on = float(np.abs(after - before)[n, ~is_other].sum())
            summary.append((key, *group, count, on, float(size[n].sum()), _n_for_most(size[n])))
            listed += [(key, *group, f, before[n, f], after[n, f]) for f in most]
    columns = ["key", "group_by", "group", "n_samples", "on_target", "off_target", "n_moved"]
    return pd.DataFrame(summary, columns=columns), _with_change(listed, "feature")


def moved_genes(reading: Reading, observed: Observed, names: Sequence[str]) -> pd.DataFrame:
    """List the `N_LISTED` genes whose predicted expression changes most over all samples, in all and in each group.

    Columns ``key``, ``group_by``, ``group``, ``gene``, ``n_samples`` that have it, ``before``, ``after``, ``change``;
    genes of fewer than `MIN_PER_GROUP` samples are left out.
    """
    listed, n_samples, before = [], reading.n_samples_with_gene.astype(int), reading.expression.get(None)
    is_common = n_samples[0] >= MIN_PER_GROUP
    for key, after in reading.expression.items():
        if key is not None:
            size = np.where(is_common, np.abs(after[0] - before[0]), 0.0)
            most = _most_changed(size)
            for n, group in enumerate(observed.groups):
                rows = ((names[reading.genes[g]], n_samples[n, g], before[n, g], after[n, g]) for g in most)
                listed += [(key, *group, *row) for row in rows if row[1] > 0]
    return _with_change(listed, "gene", "n_samples")


def _with_change(listed: list[tuple], *what: str) -> pd.DataFrame:
    table = pd.DataFrame(listed, columns=["key", "group_by", "group", *what, "before", "after"])
    return table.assign(change=table["after"] - table["before"])


def _most_changed(size: np.ndarray) -> list[int]:
    """Return the places of the `N_LISTED` largest values above 0."""
    return [place for place in np.argsort(-size, kind="stable")[:N_LISTED] if size[place] > 0]


def _n_for_most(size: np.ndarray) -> int:
    """Return how many of the largest values make up 90 % of the sum."""
    total = size.sum()
    return int(np.searchsorted(np.cumsum(np.sort(size)[::-1]), 0.9 * total) + 1) if total > 0 else 0


def _drawn_samples(context: SteeringContext, plan: SteeringPlan) -> np.ndarray:
    rows = context.rows("test")
    if plan.is_perturbation:
        rows = rows[context.column(plan.target, rows).group == plan.between[0]]
    n = min(len(rows), plan.off_target_samples)
    return np.sort(np.random.default_rng(plan.seed).choice(rows, n, replace=False))


def _columns(context: SteeringContext, plan: SteeringPlan, rows: np.ndarray) -> list[Column | None]:
    """Return the label, target and batch of some samples; those of a perturbation all have one value of its target."""
    names = dict.fromkeys([context.companion_label(plan.target), plan.target, context.batch_key])
    return [context.column(name, rows) for name in names if not (plan.is_perturbation and name == plan.target)]


def _code_sums(
    context: SteeringContext, batch: TokenBatch, edits: Mapping[str | None, TokenEdit]
) -> Iterator[np.ndarray]:
    """Yield for every edit the sums of codes over each sample's tokens, ``(n_samples, d_sae) float64``."""
    (hidden,) = context.adapter.activations(batch, [context.layer])
    content = batch.content
    n_tokens = content.sum(1)
    tokens = EditableTokens(context.sae, hidden[content[batch.mask]], batch.sample.repeat_interleave(n_tokens))
    row = torch.arange(len(n_tokens), device=n_tokens.device).repeat_interleave(n_tokens)
    for key, edit in edits.items():
        with torch.no_grad():
            found = tokens.codes if key is None else context.sae.encode(edit(tokens))
        yield _sums(found, row, len(n_tokens)).cpu().numpy()


def _places_of_genes(batch: TokenBatch, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample and the gene of each content token, as places in the batch and in ``genes``."""
    row = batch.content.nonzero()[:, 0].cpu().numpy()
    return row, np.searchsorted(genes, batch.token[batch.content].cpu().numpy())


def _added_up(values: np.ndarray | float, place: tuple[np.ndarray, ...], shape: tuple[int, int]) -> np.ndarray:
    total = np.zeros(shape)
    np.add.at(total, place, values)
    return total


def _means(total: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def _genes_of(sequences: TokenSequences, samples: np.ndarray) -> np.ndarray:
    """Return the tokens of the samples that stand for genes, ascending."""
    spans = [slice(*sequences.offsets[sample : sample + 2]) for sample in samples]
    found = [sequences.token[span][~sequences.special[span]] for span in spans]
    return np.unique(np.concatenate(found)).astype(np.int64)


def _sums(codes: Codes, row: Tensor, n_samples: int) -> Tensor:
    """Return the sums of the codes over each sample's tokens, ``(n_samples, d_sae) float64``."""
    total = torch.zeros(n_samples, codes.d_sae, dtype=torch.float64, device=codes.values.device)
    if codes.support is None:
        return total.index_add(0, row, codes.values.double())
    place = (row[codes.support.rows], codes.support.features)
    return total.index_put(place, codes.values.double(), accumulate=True)
