"""Steering, stability and comparison in the report: content, refusals, and the pages in a browser."""

import shutil

import anndata
import pytest

from biosae.atlas.compared_runs import compared_runs, frontier
from biosae.atlas.page import write_report
from biosae.atlas.run_folder import read_run_folder
from biosae.atlas.steering_tables import read_steering
from biosae.errors import ArtefactError

from . import chromium
from .synthetic_steering import (
    EDITED,
    INJECTED,
    MOVED,
    write_comparison,
    write_controls,
    write_integration,
    write_stability,
    write_steering,
    write_sweep,
)
from .test_page import PROGRAM, SCREENSHOTS, needs_browser, texts


@pytest.fixture(scope="module")
def steered_run(run_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "topk"
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("report"))
    for write in (write_steering, write_stability, write_comparison, write_sweep, write_controls):
        write(folder)
    return folder


@pytest.fixture(scope="module")
def page(steered_run):
    assert PROGRAM is not None, "CI must have a Chromium"
    with chromium.Page(PROGRAM) as page:
        page.open(write_report(steered_run, steered_run / "report").as_uri())
        yield page


@pytest.fixture
def own_steered_run(steered_run, tmp_path):
    return shutil.copytree(steered_run, tmp_path / "run", ignore=shutil.ignore_patterns("report"))


def test_content_has_one_row_an_arm_and_the_effects_of_all_samples(steered_run):
    content = read_steering(steered_run).content()
    assert [row["method"] for row in content["integration"]][:3] == ["original", "sae", "sae"]
    assert content["integration"][0]["n_features"] is None
    assert content["integration"][0]["total_difference_high"] is None
    assert len(content["effects"]) == 4
    assert content["perturbation"] is None


def test_features_know_which_edits_they_are_in_and_which_move_them(steered_run):
    effects = read_steering(steered_run).of_features(0, 40)
    (edit,) = effects[EDITED]["edited"]
    assert (edit["label"], edit["n_features"], edit["target_gap"]["low"]) == (INJECTED, 2, 0.3)
    assert effects[MOVED] == {"edited": [], "moved": [{"label": INJECTED, "before": 0.2, "after": 0.1, "change": -0.1}]}
    assert effects[12] == {"edited": [], "moved": []}  # moved by a baseline only


def test_comparison_has_a_list_an_epoch(steered_run):
    rows = compared_runs(read_run_folder(steered_run))["variants"]
    assert [(row["model"], row["split"]) for row in rows][:2] == [("topk", "train"), ("topk", "test")]
    assert rows[0]["epochs"] == [1, 2, 3]
    assert rows[0]["nmse"] == pytest.approx([0.2, 0.1, 0.2 / 3])


def test_frontier_shows_where_each_variant_ended_on_held_out_tokens(steered_run):
    run = read_run_folder(steered_run)
    compared = compared_runs(run) | {"sweep": None}
    expected = [("topk", 0.2 / 3, True), (INJECTED, 0.4 / 3, False)]
    assert [(p["name"], p["fvu"], p["mine"]) for p in frontier(compared, run)] == [
        (name, pytest.approx(fvu), mine) for name, fvu, mine in expected
    ]


def test_runs_of_the_experiment_keep_their_settings(steered_run):
    run = read_run_folder(steered_run)
    sweep = compared_runs(run)["sweep"]
    assert sweep["settings"] == ["variant", "scfm.layer"]
    assert sweep["measures"] == ["fvu", "l0"]
    assert sweep["rows"][1] == {"run": "topk", "variant": INJECTED, "scfm.layer": 2, "fvu": 0.3, "l0": 16}
    assert [(p["name"], p["mine"]) for p in frontier(compared_runs(run), run)] == [("0123", False), ("topk", True)]


def test_controls_come_as_they_were_written(steered_run):
    first, second = compared_runs(read_run_folder(steered_run))["controls"]
    assert (first["axes"], first["above_null"], second["axes"], second["l0"]) == ("sae", 0.12, INJECTED, None)


def test_a_damaged_sweep_names_its_command(own_steered_run):
    (own_steered_run.parent / "sweep.csv").write_text("run,variant\na,b\n")
    with pytest.raises(ArtefactError, match="sweep.csv cannot be read.*the sweep stage"):
        compared_runs(read_run_folder(own_steered_run))


def test_a_run_without_steering_has_no_such_pages(report):
    assert not (report.parent / "data" / "steering.js").exists()
    assert not (report.parent / "data" / "comparison.js").exists()


def test_stale_artefacts_are_refused_with_the_command_that_mends_them(own_steered_run):
    table = anndata.read_h5ad(own_steered_run / "steered.h5ad")
    table.obsm["original"] += 1
    table.write_h5ad(own_steered_run / "steered.h5ad")
    with pytest.raises(ArtefactError, match="integration.csv does not belong to steered.h5ad .*the benchmark stage"):
        read_steering(own_steered_run)
    write_integration(own_steered_run)
    read_steering(own_steered_run)
    features = anndata.read_h5ad(own_steered_run / "features.h5ad")
    features.obs["more"] = 1
    features.write_h5ad(own_steered_run / "features.h5ad")
    with pytest.raises(ArtefactError, match="steered.h5ad does not belong to features.h5ad .*the steer stage"):
        read_steering(own_steered_run)


class TestInBrowser:
    pytestmark = needs_browser

    def test_pages_are_in_the_navigation_and_open_without_errors(self, page):
        assert texts(page, "#navigation a")[-3:] == ["Steering", "Stability", "Comparison"]
        for route, title in (("steering", "Steering"), ("stability", "Stability"), ("comparison", "Comparison")):
            page.go(f"#/{route}")
            assert texts(page, "h1") == [title]
            page.wait("document.querySelector('.drawing svg')")
        assert page.errors == []

    def test_names_with_markup_are_text(self, page):
        page.go("#/steering")
        page.wait("document.querySelector('.drawing svg')")
        assert any(INJECTED in text for text in texts(page, "svg text"))
        assert any(INJECTED in text for text in texts(page, ".note"))
        page.go("#/comparison")
        assert any(INJECTED in text for text in texts(page, "td"))
        assert page.evaluate("document.querySelectorAll('img').length") == 0
        assert page.errors == []

    def test_the_features_are_set_against_every_other_method_and_what_else_moves_is_told(self, page):
        page.go("#/steering")
        assert any("SAE features less other methods: total" in text for text in texts(page, "h2"))
        assert any(text.startswith("10 − centring") for text in texts(page, "svg text"))
        assert any("Genes: bins, 0 to 50." in text for text in texts(page, ".note"))
        assert f"{INJECTED} (cell_type)" in texts(page, "td")
        assert "ISG15" in texts(page, "td")
        assert page.errors == []

    def test_the_figure_follows_the_chosen_score_and_downloads_its_rows(self, page):
        page.go("#/steering")
        page.evaluate("figure.saved = null; URL.createObjectURL = (b) => { figure.saved = b.text(); return 'blob:x'; }")
        choose = "(box) => { box.value = 'transfer_macro_f1'; box.dispatchEvent(new Event('change')); }"
        page.evaluate(f"({choose})(document.querySelector('select[aria-label=Score]'))")
        page.wait("document.querySelector('select[aria-label=Score]').closest('figure').querySelector('.drawing svg')")
        assert "Integration: label transfer, macro-F1" in texts(page, "h2")
        buttons = (
            "document.querySelector('select[aria-label=Score]').closest('figure').querySelectorAll('.tools button')"
        )
        page.evaluate(f"{buttons}[1].click()")
        rows = page.evaluate("figure.saved").splitlines()
        assert rows[0].endswith("transfer_macro_f1,transfer_macro_f1_low,transfer_macro_f1_high")
        assert len(rows) == 7
        page.evaluate(f"{buttons}[0].click()")
        drawing = page.evaluate("figure.saved")
        assert drawing.startswith("<svg") and "unedited model" in drawing and "class=" not in drawing

    def test_table_sorts_methods_by_total(self, page):
        page.go("#/steering")
        first = texts(page, "tbody tr[aria-rowindex] td:first-child")
        assert first[:2] == ["centring", "SAE features"]

    def test_features_show_their_steering_effect(self, page):
        page.go(f"#/feature/{EDITED}")
        assert any("Steering effect" in text for text in texts(page, "h2"))
        assert any("0.400 (0.300 to 0.500)" in text for text in texts(page, "td"))
        page.go("#/feature/20")
        assert not any("Steering effect" in text for text in texts(page, "h2"))

    def test_comparison_shows_axes_runs_and_variants(self, page):
        page.errors.clear()  # of downloads that an earlier test caught
        page.go("#/comparison")
        assert texts(page, "h2.section") == ["Simpler axes", "Runs of this experiment", "Variants"]
        assert "By layer" in texts(page, "h2")
        assert {"4 of 5", "topk (this)", INJECTED} <= set(texts(page, "td"))
        page.wait("[...document.querySelectorAll('.drawing')].every((drawing) => drawing.querySelector('svg'))")
        assert any(INJECTED in text for text in texts(page, "svg text"))
        page.go("#/")
        assert "Reconstruction against sparsity" in texts(page, "h2")
        assert page.errors == []

    def test_stability_says_how_many_come_back(self, page):
        page.go("#/stability")
        assert texts(page, ".lead")[0].startswith("2 of 40 features come back")
        assert any("mean cosine 0.31" in text for text in texts(page, ".note"))
        for feature, n in ((0, 4), (3, 1)):
            page.go(f"#/feature/{feature}")
            assert texts(page, ".lead")[0].endswith(f"Found again in {n} of 4 other runs.")

    @pytest.mark.parametrize("width", [1280, 390])
    def test_fits_the_screen(self, page, width):
        page.resize(width, 900)
        for name in ("steering", "stability", "comparison"):
            page.go(f"#/{name}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
            page.screenshot(SCREENSHOTS / f"{name}-{width}-light.png")
