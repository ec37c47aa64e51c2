import csv
import io
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from biosae.atlas.page import write_report, write_single_page

from . import chromium

PROGRAM = chromium.find()
SCREENSHOTS = Path(__file__).resolve().parents[2] / ".artifacts" / "screenshots"
INJECTED = "<img src=x onerror=alert(1)>"

needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        PROGRAM is None and os.environ.get("CI") != "true", reason="no Chromium here: apt-get install chromium"
    ),
]


@pytest.fixture(scope="module")
def page(report):
    assert PROGRAM is not None, "CI must have a Chromium"
    with chromium.Page(PROGRAM) as page:
        page.open(report.as_uri())
        yield page


def texts(page, selector):
    return page.evaluate(f"[...document.querySelectorAll({selector!r})].map((node) => node.textContent)")


def test_folder_is_whole(report):
    names = {path.relative_to(report.parent).as_posix() for path in report.parent.rglob("*") if path.is_file()}
    assert {"index.html", "style.css", "js/main.js", "data/core.js", "data/cells.js", "data/features-0.js"} <= names


def test_page_names_no_host(report):
    sources = [path for path in report.parent.rglob("*") if path.suffix in (".html", ".css", ".js")]
    allowed = "http://www.w3.org/2000/svg"  # a namespace, never fetched
    for path in sources:
        text = path.read_text(encoding="utf-8").replace(allowed, "")
        assert "http:" not in text and "https:" not in text, path


def test_second_report_replaces_the_first(report, run_folder):
    before = {path: path.read_bytes() for path in report.parent.rglob("*.js")}
    write_report(run_folder, report.parent)
    assert {path: path.read_bytes() for path in report.parent.rglob("*.js")} == before


class TestInBrowser:
    pytestmark = needs_browser

    def test_opens_from_disk_without_errors_or_network(self, page):
        page.go("#/")
        for route in (
            "#/features",
            "#/feature/0",
            "#/labels",
            "#/label/cell_type/B%20cells",
            "#/genes",
            "#/gene/ENSG00000000003",
        ):
            page.go(route)
            assert texts(page, "h1") != ["Not here"], route
        assert page.errors == []
        assert {address.partition(":")[0] for address in page.requests} <= {"file", "data", "about", "blob"}

    def test_names_at_the_edge_of_a_map_stay_whole(self, page):
        """Two cells in opposite corners, whose long names would be centred on them."""
        page.go("#/")
        drawn = """new Promise((done) => {
            const map = cellmap.make({ map: { x: [0, 65535], y: [65535, 0] },
                paint: { category: [0, 1], names: ["CD4 NAIVE T CELLS", "CD16 monocytes"] } });
            map.element.style.width = "260px";
            document.querySelector("main").append(map.element);
            requestAnimationFrame(() => requestAnimationFrame(() => {
                document.body.append(Object.assign(document.createElement("div"), { id: "drawn" }));
                const svg = document.getElementById("drawn").appendChild(map.drawing());
                const texts = [...svg.querySelectorAll("text")].map((text) => text.getBBox());
                done([svg.viewBox.baseVal.width, ...texts.flatMap((box) => [box.x, box.x + box.width])]);
                map.element.remove();
                document.getElementById("drawn").remove();
            }));
        })"""
        width, *ends = page.evaluate(drawn)
        assert len(ends) == 4
        assert min(ends) >= 0 and max(ends) <= width, (width, ends)

    def test_policy_forbids_the_network(self, page):
        page.evaluate("fetch('http://127.0.0.1:9/').catch(() => null)")
        assert any("Content Security Policy" in error for error in page.errors)
        page.errors.clear()

    def test_search_finds_gene_and_class(self, page):
        page.go("#/features")
        search = (
            "(text) => { const box = document.getElementById('search');"
            "box.value = text; box.dispatchEvent(new Event('input')); }"
        )
        first = "tbody tr[aria-rowindex] td:first-child"
        page.evaluate(f"({search})('GENE70')")
        assert "5" in texts(page, first)
        page.evaluate(f"({search})('monocytes')")
        assert "3" in texts(page, first)
        page.evaluate(f"({search})('no such thing')")
        assert texts(page, "tbody td.quiet") == ["Nothing matches."]
        page.evaluate(f"({search})('')")

    def test_sorts_by_a_column_and_back(self, page):
        page.go("#/features")
        click = "document.querySelector('#features th:first-child button').click()"
        first = "tbody tr[aria-rowindex] td:first-child"
        page.evaluate(click)
        down = [int(text) for text in texts(page, first)]
        page.evaluate(click)
        up = [int(text) for text in texts(page, first)]
        assert down == sorted(down, reverse=True)
        assert up == sorted(up)

    def test_deep_link_opens_its_feature(self, page, report):
        page.open(f"{report.as_uri()}#/feature/1")
        assert texts(page, "h1") == ["CD4 T cells"]
        assert texts(page, ".eyebrow") == ["Feature 1"]

    def test_unknown_feature_says_so(self, page):
        page.go("#/feature/999")
        assert texts(page, "h1") == ["Not here"]

    def test_arrow_keys_go_to_the_next_feature(self, page):
        page.go("#/feature/1")
        page.key("ArrowRight")
        page.wait("document.documentElement.dataset.page === '#/feature/2'")

    def test_the_list_works_from_the_keyboard(self, page):
        page.go("#/")
        page.key("/")
        page.wait("document.activeElement.id === 'search'")
        page.evaluate("document.querySelector('.scroller').focus()")
        page.key("ArrowDown")
        page.key("ArrowDown")
        second = page.evaluate("document.querySelector('tr.active td').textContent")
        assert second == texts(page, "tbody tr[aria-rowindex] td:first-child")[1]
        page.key("Enter")
        page.wait(f"document.documentElement.dataset.page === '#/feature/{second}'")

    def test_the_button_switches_between_light_and_dark(self, page):
        before = page.evaluate("document.documentElement.dataset.theme")
        ground = "getComputedStyle(document.body.parentElement).backgroundColor"
        light = page.evaluate(ground)
        page.evaluate("document.getElementById('theme').click()")
        assert {before, page.evaluate("document.documentElement.dataset.theme")} == {"light", "dark"}
        assert page.evaluate(ground) != light
        page.evaluate("document.getElementById('theme').click()")

    def test_label_with_markup_is_text(self, page):
        page.go("#/feature/4")
        assert texts(page, "h1") == [INJECTED]
        assert page.evaluate("document.querySelectorAll('img').length") == 0
        page.go("#/")
        page.wait("document.querySelectorAll('svg text').length > 0")  # figures are drawn once they have a width
        assert any(INJECTED in text for text in texts(page, "svg text"))
        assert page.errors == []

    def test_csv_quotes_what_needs_it(self, page):
        assert page.evaluate("figure.csv([['a,b', 'c\"d', null, 1.5]])") == '"a,b","c""d",,1.5\n'

    def test_csv_has_no_formula_from_a_name(self, page):
        rows = "[['=1+1', '@SUM(A1)', '-cmd', '+', -1.5, '-1.5', 'HLA-A']]"
        assert page.evaluate(f"figure.csv({rows})") == "'=1+1,'@SUM(A1),'-cmd,'+,-1.5,-1.5,HLA-A\n"

    @pytest.mark.parametrize("route", ["#/label/cell_type/%", "#/constructor", "#/__proto__/x", "#/gene/%00%3Cb%3E"])
    def test_a_broken_link_says_so_and_breaks_nothing(self, page, route):
        page.go(route)
        assert texts(page, "h1") == ["Not here"]
        assert page.evaluate("document.querySelectorAll('#content b').length") == 0
        page.go("#/")
        assert page.errors == []

    def test_first_page_shows_cells_and_the_features_that_mark_their_classes(self, page):
        page.go("#/")
        page.wait("document.querySelectorAll('.tile canvas').length === 5")
        assert INJECTED in texts(page, ".tile strong")
        assert page.evaluate("document.querySelector('.tile').getAttribute('href')").startswith("#/feature/")
        painted = (
            "[...document.querySelectorAll('.pair canvas')].map((canvas) => canvas.width && canvas.getContext('2d')"
            ".getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0))"
        )
        page.wait(f"{painted}.every(Boolean)")
        assert page.errors == []

    def test_every_download_of_every_page_is_well_formed(self, page):
        page.evaluate(
            "window.saved = []; URL.createObjectURL = (blob) => { saved.push(blob.text()); return 'blob:x'; };"
            "biosae.load('core').then((core) => { core.features.names[4] = 'a\\u0001\\u0008<b>&\\ud800'; })"
        )
        for route in ("#/", "#/feature/4", "#/feature/0", "#/label/cell_type/B%20cells", "#/gene/ENSG00000000000"):
            page.go(route)
            page.wait("[...document.querySelectorAll('.drawing')].every((drawing) => drawing.querySelector('svg'))")
            if route == "#/":
                page.wait("document.querySelectorAll('.tile canvas').length === 5")
            page.evaluate("document.querySelectorAll('.tools button').forEach((button) => button.click())")
        kinds = "Promise.all(saved).then((all) => all.filter((text) => text.startsWith('<svg')))"
        drawings = page.evaluate(kinds)
        assert len(drawings) >= 15
        for drawing in drawings:
            ElementTree.fromstring(drawing)  # raises on what is no XML
        tables = page.evaluate("Promise.all(saved).then((all) => all.filter((text) => !text.startsWith('<svg')))")
        for table in tables:
            rows = list(csv.reader(io.StringIO(table)))
            assert len({len(row) for row in rows}) == 1 and len(rows) > 1

    def test_svg_download_stands_alone(self, page):
        page.go("#/feature/0")
        page.wait("document.querySelector('.drawing svg')")
        page.evaluate(
            "figure.saved = null; URL.createObjectURL = (blob) => { figure.saved = blob.text(); return 'blob:x'; }"
        )
        page.evaluate("document.querySelector('.drawing').closest('figure').querySelector('.tools button').click()")
        text = page.evaluate("figure.saved")
        assert text.startswith("<svg") and 'fill="rgb(' in text and "class=" not in text

    @pytest.mark.parametrize("width", [1280, 390])
    @pytest.mark.parametrize("dark", [False, True])
    def test_fits_the_screen(self, page, report, width, dark):
        page.resize(width, 900)
        page.dark(dark)
        page.open(report.as_uri())
        for name, route in {"overview": "#/", "features": "#/features", "feature": "#/feature/0"}.items():
            page.go(route)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            page.screenshot(SCREENSHOTS / f"{name}-{width}-{'dark' if dark else 'light'}.png")

    def test_single_page_opens_alone(self, run_folder, tmp_path):
        with chromium.Page(PROGRAM) as page:
            page.open(write_single_page(run_folder, tmp_path / "report.html").as_uri() + "#/feature/0")
            assert texts(page, "h1") == ["B cells"]
            assert page.errors == []
            loaded = [address.partition("#")[0] for address in page.requests if address.startswith("file:")]
            assert loaded == [(tmp_path / "report.html").as_uri()]
