"""The page in a real browser, by clicking: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import pytest

import emc

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("itables")
pytest.importorskip("altair")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
READY = "document.documentElement.dataset.ready"
DRAWN = "[...document.querySelectorAll('figure')].every(each => each.dataset.drawn === 'yes')"
#: Those further down are drawn once they are seen.
MEASUREMENTS_DRAWN = DRAWN.replace("figure", "#measurements figure")
MILLISECONDS = 90_000

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the page is, once a test has written it."""
    return tmp_path_factory.mktemp("browser") / "page.html"


@pytest.fixture
def opened(browser, hostile, place):
    """`opened(**options)`: the page of hostile names in a fresh window; it made no request and nothing went wrong."""
    if not place.exists():
        emc.report(hostile, place)
    windows = []

    def show(**options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(MILLISECONDS)
        page, wrong = context.new_page(), []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith(("http", "ws")) else None)
        page.goto(place.as_uri())
        page.wait_for_function(READY)
        windows.append(SimpleNamespace(context=context, wrong=wrong))
        return page

    yield show
    for window in windows:
        window.context.close()
    assert [window.wrong for window in windows] == [[] for _ in windows]


def column(page, name):
    """The texts of a column of the measurements, as they are shown."""
    heads = page.locator("#measurements-0 thead tr:first-child th").all_inner_texts()
    place = [head.strip() for head in heads].index(name)
    return [
        row.locator("th, td").nth(place).inner_text().strip() for row in page.locator("#measurements-0 tbody tr").all()
    ]


def test_sorting_and_filtering(opened):
    page = opened()
    head = page.get_by_role("columnheader", name="EMC").first
    assert column(page, "EMC") == ["40", "70", "100", "130", "\N{GREATER-THAN OR EQUAL TO} 160", "190"]
    head.click()
    head.click()
    assert column(page, "EMC") == ["190", "\N{GREATER-THAN OR EQUAL TO} 160", "130", "100", "70", "40"]
    search = page.locator("#measurements-0_wrapper").get_by_label("Search")
    search.fill("Übermodell")
    assert column(page, "EMC") == ["130"]
    search.fill("")
    page.get_by_label("Filter status", exact=True).first.fill("censored")
    assert column(page, "EMC") == ["\N{GREATER-THAN OR EQUAL TO} 160"]
    page.get_by_label("Filter status", exact=True).first.fill("")
    page.get_by_label("Filter EMC", exact=True).first.fill("70")
    assert column(page, "EMC") == ["70"]


def test_a_measurement_opens_to_its_search(opened):
    page = opened()
    button = page.locator("#measurements-0 button.open").first
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(MEASUREMENTS_DRAWN)
    assert button.get_attribute("aria-expanded") == "true"
    detail = page.locator("#measurements article.detail")
    assert detail.locator("h3").inner_text() == "Measurement 1: EMC 40"
    searches, accuracy = detail.locator("figure svg").all()
    assert "replicate 5" in searches.inner_html()
    assert accuracy.locator("path[aria-roledescription=point]").count() >= 10
    detail.locator("summary").click()
    assert detail.locator("details table tbody tr").count() == 25
    button.click()
    assert page.locator("#measurements article.detail").count() == 0


def test_a_curve_opens_and_all_measurements_do(opened):
    page = opened()
    page.locator("#curves article.detail").wait_for()
    page.get_by_role("button", name="Open all shown").first.click()
    page.locator("#measurements article.detail").nth(5).wait_for()
    page.locator("#comparisons figure").scroll_into_view_if_needed()
    page.wait_for_function(DRAWN)
    assert page.locator("#curves article.detail svg").count() == 1
    assert page.locator("figure svg").count() == 1 + 1 + 6 * 2 + 1
    page.get_by_role("button", name="Close all").first.click()
    assert page.locator("#measurements article.detail").count() == 0


def test_names_are_texts(opened, hostile):
    page = opened()
    for button in page.locator("#measurements-0 button.open").all():
        button.click()
    page.wait_for_function(MEASUREMENTS_DRAWN)
    assert page.title() == f"EMC report: {hostile.name}"
    assert page.locator("h1").inner_text() == f"EMC report: {hostile.name}"
    assert page.locator("img, script[src], main b").count() == 0
    shown = page.locator("#measurements").inner_text()
    assert "<script>document.title='stolen'</script>" in shown
    assert "\"quoted\" 'single' & &lt;b&gt; </template></table>" in shown
    assert "long" * 200 in shown


def test_dark_and_light_differ_and_paper_is_light(opened):
    ink = "getComputedStyle(document.querySelector('.chart svg text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    for page in (light, dark):
        page.wait_for_selector("#measurements figure svg text")
    assert light.evaluate(paper) == "rgb(255, 255, 255)" != dark.evaluate(paper)
    assert light.evaluate(ink) == "rgb(27, 27, 27)" != dark.evaluate(ink)
    dark.emulate_media(media="print")
    assert dark.evaluate(paper) == "rgb(255, 255, 255)"
    assert dark.evaluate(ink) == "rgb(27, 27, 27)"


def test_paper_has_every_row_and_no_controls(opened):
    page = opened()
    length = page.locator("#measurements-0_wrapper select.dt-input")
    page.evaluate("document.querySelector('#measurements-0_wrapper select.dt-input').append(new Option('2', '2'))")
    length.select_option("2")
    assert len(column(page, "EMC")) == 2
    page.emulate_media(media="print")
    assert len(column(page, "EMC")) == 6
    for control in (".dt-search", ".dt-paging", ".controls", "nav", "thead input"):
        assert not page.locator(control).first.is_visible()
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="screen")
    assert len(column(page, "EMC")) == 2


def test_printing_counts_every_row_without_having_been_warned(opened):
    """As `chromium --headless --print-to-pdf` does: the media query changes after the pages have been counted."""
    page = opened()
    length = page.locator("#measurements-0_wrapper select.dt-input")
    page.evaluate("document.querySelector('#measurements-0_wrapper select.dt-input').append(new Option('2', '2'))")
    length.select_option("2")
    page.evaluate("""addEventListener("beforeprint", () => {
        const rows = document.querySelectorAll("#measurements-0 tbody tr");
        window.counted = [rows.length, document.querySelector("#measurements-0 thead").textContent];
    })""")
    assert page.pdf().startswith(b"%PDF")
    rows, heads = page.evaluate("window.counted")
    assert rows == 6
    assert "settings unlike most" in heads
    page.wait_for_function("document.querySelectorAll('#measurements-0 tbody tr').length === 2")
    assert "settings unlike most" not in page.locator("#measurements-0 thead").inner_text()


def test_paper_names_the_settings_in_which_rows_differ(opened):
    page = opened()
    page.emulate_media(media="print")
    assert "settings unlike most" in page.locator("#measurements-0 thead").inner_text()
    told = column(page, "settings unlike most")
    assert told[0] == "as most"
    assert "model.width 9" in told[-1]
    assert "fingerprint" in page.locator("#measurements-0 thead").inner_text()
    fits = "(e => e.getBoundingClientRect().right <= document.documentElement.clientWidth)"
    page.set_viewport_size({"width": 1030, "height": 700})  # of A4 across, less its margins
    assert page.evaluate(f"{fits}(document.querySelector('#measurements-0'))")


def test_headings_captions_and_labels(opened):
    page = opened(viewport={"width": 480, "height": 900})
    levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(each => +each.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.eval_on_selector_all("table", "all => all.every(each => each.caption?.textContent.trim())")
    unnamed = "all => all.filter(each => !each.labels?.length && !each.getAttribute('aria-label')).length"
    assert page.eval_on_selector_all("input, select", unnamed) == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 480
