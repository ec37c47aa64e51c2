"""The ten lines that a biologist reads when a run ends."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.markup import escape
from rich.table import Table

from biosae.analysis.control_claims import verdict
from biosae.analysis.explain.score_explanations import said
from biosae.analysis.results import read_analysis
from biosae.progress import results
from biosae.run_record import read_evaluation, read_run

MOST_CLASSES = 10


def print_summary(folder: Path) -> None:
    """What was trained, which feature marks which class, its held-out score and its null, and where the report lies."""
    run = read_run(folder)
    evaluation = read_evaluation(folder, "l0", "fvu")
    data, model, sae = run["data"], run["model"], run["sae"]
    results.print()
    _say(
        f"{data['description'] or data['name']}: {data['n_samples']:,} samples, {model['name']} layer {model['layer']}"
    )
    _say(
        f"{sae['variant']} with {sae['d_sae']:,} features, {evaluation['l0']:.0f} active a token; it leaves "
        f"{evaluation['fvu']:.1%} of the variance of held-out activations unexplained"
    )
    if (folder / "analysis.json").exists():
        analysis = read_analysis(folder)
        _labels(analysis, optional_csv(folder / "transfer.csv"))
        _controls(optional_csv(folder / "controls.csv"))
        claims = optional_csv(folder / "control_claims.csv")
        if claims is not None and len(claims):
            _say(f"controls: {verdict(claims)}")
        _reading(analysis["summary"].get("expressed", {}))
        if "explanations" in analysis["summary"]:
            _say(said(analysis["summary"]["explanations"]))
        _residues(analysis["summary"].get("residues", {}).get("concepts", []))
    for page in (folder / "report" / "index.html", folder / "report.html"):
        if page.exists():
            _say(f"report: {page}")


def optional_csv(path: Path) -> pd.DataFrame | None:
    """Return a table of the run, None where it was not made."""
    return pd.read_csv(path, keep_default_na=False) if path.exists() else None


def _labels(analysis: dict, transfer: pd.DataFrame | None = None) -> None:
    n = analysis["split"]
    for key, label in analysis["summary"].get("labels", {}).items():
        table = Table(box=None, pad_edge=False, title_justify="left", title_style="none")
        table.title = escape(
            f"best feature for each {key}, chosen on {n['select']:,} samples, scored on {n['test']:,} others"
        )
        genes = "expressed where it fires" if label["classes"][0].get("expressed_genes") else "tokens it reads"
        other = _elsewhere(transfer, key)
        for heading in (key, "feature", "AUROC", "null*", *(["other cells"] if other else []), genes):
            table.add_column(heading, justify="left", header_style="dim", no_wrap=heading != genes)
        for row in label["classes"][:MOST_CLASSES]:
            *numbers, names = _cells(row)
            elsewhere = [other.get(row["class"], "-")] if other else []
            table.add_row(*map(escape, (*numbers, *elsewhere, names)))
        results.print(table)
        _say(_tests(key, label))
        if other:
            _say(_transferred(transfer))
    if not analysis["summary"].get("labels"):
        _say("no label was scored; columns of the samples' annotations are chosen with data.label_keys=")
    else:
        _say("* 95th percentile of the best feature when labels are shuffled")


def _elsewhere(transfer: pd.DataFrame | None, key: str) -> dict[str, str]:
    """Class -> AUROC of its feature on other cells, in brackets where chance does as well; empty for none."""
    if transfer is None or transfer.empty or transfer["label"].iloc[0] != key:
        return {}
    return {
        str(row["class"]): f"{row['auroc']:.2f}" if row["p_value"] < 0.05 else f"({row['auroc']:.2f})"
        for row in transfer.to_dict("records")
    }


def _transferred(transfer: pd.DataFrame) -> str:
    n, n_above, first = len(transfer), int((transfer["p_value"] < 0.05).sum()), transfer.iloc[0]
    cells = f"{int(first['n_samples']):,} cells of {first['data']}, which the SAE never saw"
    return f"other cells: the same features on {cells}; {n_above} of {n} classes above chance, others in brackets"


def _reading(expressed: dict) -> None:
    """The share of expressed genes that the model reads, and the markers of which it reads least."""
    if expressed.get("read_share") is None:
        return
    least = [f"{row['gene']} in {row['n_read']:,} of {row['n_expressing']:,} cells" for row in expressed["least_read"]]
    of_markers = f"; of those above, {', '.join(least)}" if least else ""
    _say(f"the model reads {expressed['read_share']:.0%} of the genes that cells express{of_markers}")


def _controls(controls: pd.DataFrame | None) -> None:
    """The mean AUROC of the best axis of a class beside that of simpler axes."""
    if controls is None:
        return
    first = controls[controls["label"] == controls["label"].iloc[0]]
    axes = [
        f"{row['axes']} {row['auroc']:.2f}" for row in first.sort_values("auroc", ascending=False).to_dict("records")
    ]
    _say(f"mean AUROC of the best axis of each {first['label'].iloc[0]}: {', '.join(axes)}")


def _tests(key: str, label: dict) -> str:
    if label.get("untested"):
        return f"whether a feature marks a {key} could not be tested: {label['untested']}"
    marking = f"{label['n_significant']:,} of {label['n_features']:,} features mark a {key}"
    return f"{marking} at q < 0.05, corrected over {label['n_tests']:,} tests of features and classes"


def _residues(concepts: list[dict]) -> None:
    if not concepts:
        return
    title = "best feature for each site or domain, chosen and scored on different proteins"
    table = Table(box=None, pad_edge=False, title_justify="left", title_style="none", title=title)
    for heading in ("concept", "feature", "F1", "precision", "recall", "null*", "best amino acid", "best window"):
        table.add_column(heading, justify="left", header_style="dim", no_wrap=True)
    for row in concepts[:MOST_CLASSES]:
        numbers = (f"{row[name]:.2f}" for name in ("f1", "precision", "recall", "null_f1"))
        table.add_row(
            escape(row["concept"]),
            f"f{row['feature']}",
            *numbers,
            f"{row['residue']} {row['residue_f1']:.2f}",
            f"{row['position']} {row['position_f1']:.2f}" if "position" in row else "-",
        )
    results.print(table)
    _say("* 95th percentile of the best feature when annotations are turned around their proteins")


def _cells(row: dict) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    genes = ", ".join((row.get("expressed_genes") or row["top_genes"])[:4])
    if row["null_auroc"] is not None and not row["auroc"] > row["null_auroc"]:
        genes = "not found: chance reaches as much"
    return row["class"], f"f{row['feature']}", number(row["auroc"]), number(row["null_auroc"]), genes


def _say(text: str) -> None:
    results.print(escape(text), highlight=False, soft_wrap=True)
