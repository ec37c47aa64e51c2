"""One page of a sequence: its residues under each of its strongest features, and what a variant changes."""

from __future__ import annotations

from html import escape

import pandas as pd

MOST_FEATURES = 20
PER_LINE = 60

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2b33; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1rem; margin: 1.6rem 0 .3rem }
code { font: 13px/1.7 ui-monospace, monospace } .line { white-space: pre; display: block; overflow-x: auto }
.at { color: #6b7b83 } b { font-weight: 400; padding: 2px 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .15rem .7rem; text-align: right }
th { border-bottom: 1px solid #a9b4ba } td:nth-child(2), th:nth-child(2) { text-align: left }
"""


def sequence_page(name: str, sequence: str, features: pd.DataFrame, changes: pd.DataFrame | None = None) -> str:
    """Return a page, complete in itself, of the features of one sequence.

    Parameters
    ----------
    features
        ``position`` (from 1), ``residue``, ``feature``, ``code`` and ``name``, as `SequenceReader.encode` returns them.
    changes
        What a variant changes, as `SequenceReader.compare` returns it.
    """
    strongest = features.groupby("feature")["code"].max().nlargest(MOST_FEATURES)
    blocks = [_track(sequence, features[features["feature"] == feature], top) for feature, top in strongest.items()]
    said = (
        f"{len(sequence):,} residues, {features['feature'].nunique():,} active features; the {len(strongest)} with the"
    )
    body = f"<h1>{escape(name)}</h1><p>{said} largest codes are shown, darkest where they are largest.</p>"
    if changes is not None:
        body += _changes(changes)
    title = f"<title>{escape(name)}: features of a sequence</title>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{title}<style>{STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}{"".join(blocks)}</body></html>\n'


def _track(sequence: str, rows: pd.DataFrame, top: float) -> str:
    shade = dict(zip(rows["position"], rows["code"] / top, strict=True))
    letters = [_letter(letter, at, shade.get(at, 0.0)) for at, letter in enumerate(sequence, start=1)]
    lines = "".join(
        f'<span class="line"><span class="at">{first + 1:>5} </span>{"".join(letters[first : first + PER_LINE])}</span>'
        for first in range(0, len(letters), PER_LINE)
    )
    feature, name = rows.iloc[0][["feature", "name"]]
    title = f"f{feature}" + (f" {name}" if name else "")
    return f"<h2>{escape(title)} <span class=at>largest code {top:.3g}</span></h2><code>{lines}</code>"


def _letter(letter: str, at: int, share: float) -> str:
    if share <= 0:
        return escape(letter)
    color = "#fff" if share > 0.6 else "inherit"
    style = f"background:rgba(11,103,133,{share:.2f});color:{color}"
    return f'<b style="{style}" title="{escape(letter)}{at}: {share:.0%} of the largest">{escape(letter)}</b>'


def _changes(changes: pd.DataFrame) -> str:
    rows = "".join(
        f"<tr><td>f{row.feature}</td><td>{escape(str(row.name_))}</td><td>{row.reference:.3g}</td>"
        f"<td>{row.variant:.3g}</td><td>{row.change:+.3g}</td><td>{row.position}</td><td>{row.background:.3g}</td>"
        f"<td>{row.p_value:.2g}</td></tr>"
        for row in changes.rename(columns={"name": "name_"}).head(MOST_FEATURES).itertuples()
    )
    heads = ("feature", "name", "reference", "variant", "change", "at residue", "random substitutions", "p")
    head = "".join(f"<th>{text}</th>" for text in heads)
    return f"<h2>What the variant changes (summed codes)</h2><table><tr>{head}</tr>{rows}</table>"
