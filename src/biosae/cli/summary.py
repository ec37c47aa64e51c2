"""The ten lines that a biologist reads when a run ends."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from biosae.analysis.explain.score_explanations import said
from biosae.analysis.results import read_analysis
from biosae.progress import console
from biosae.run_record import read_evaluation, read_run

MOST_CLASSES = 10


def print_summary(folder: Path) -> None:
    """What was trained, which feature marks which class, its held-out score and its null, and where the report lies."""
    run = read_run(folder)
    evaluation = read_evaluation(folder, "l0", "fvu")
    data, model, sae = run["data"], run["model"], run["sae"]
    console.print()
    _say(
        f"{data['description'] or data['name']}: {data['n_samples']:,} samples, {model['name']} layer {model['layer']}"
    )
    _say(
        f"{sae['variant']} with {sae['d_sae']:,} features, {evaluation['l0']:.0f} active a token; it leaves "
        f"{evaluation['fvu']:.1%} of the variance of held-out activations unexplained"
    )
    if (folder / "analysis.json").exists():
        analysis = read_analysis(folder)
        _labels(analysis)
        if "explanations" in analysis["summary"]:
            _say(said(analysis["summary"]["explanations"]))
        _residues(analysis["summary"].get("residues", {}).get("concepts", []))
    for page in (folder / "report" / "index.html", folder / "report.html"):
        if page.exists():
            _say(f"report: {page}")


def _labels(analysis: dict) -> None:
    n = analysis["split"]
    for key, label in analysis["summary"].get("labels", {}).items():
        table = Table(box=None, pad_edge=False, title_justify="left", title_style="none")
        table.title = escape(
            f"best feature for each {key}, chosen on {n['select']:,} samples, scored on {n['test']:,} others"
        )
        genes = "expressed where it fires" if label["classes"][0].get("expressed_genes") else "tokens it reads"
        for heading in (key, "feature", "AUROC", "95 % interval", "null*", genes):
            table.add_column(heading, justify="left", header_style="dim", no_wrap=heading != genes)
        for row in label["classes"][:MOST_CLASSES]:
            table.add_row(*map(escape, _cells(row)))
        console.print(table)
        _say(_tests(key, label))
    if not analysis["summary"].get("labels"):
        _say("no label was scored; columns of the samples' annotations are chosen with data.label_keys=")
    else:
        _say("* 95th percentile of the best feature when labels are shuffled")


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
    for heading in ("concept", "feature", "F1", "precision", "recall", "null*", "best amino acid"):
        table.add_column(heading, justify="left", header_style="dim", no_wrap=True)
    for row in concepts[:MOST_CLASSES]:
        numbers = (f"{row[name]:.2f}" for name in ("f1", "precision", "recall", "null_f1"))
        table.add_row(
            escape(row["concept"]), f"f{row['feature']}", *numbers, f"{row['residue']} {row['residue_f1']:.2f}"
        )
    console.print(table)
    _say("* 95th percentile of the best feature when annotations are turned around their proteins")


def _cells(row: dict) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    interval = f"{number(row['auroc_low'])} to {number(row['auroc_high'])}"
    genes = ", ".join((row.get("expressed_genes") or row["top_genes"])[:4])
    return row["class"], f"f{row['feature']}", number(row["auroc"]), interval, number(row["null_auroc"]), genes


def _say(text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)
