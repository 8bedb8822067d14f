"""The page of a report in a browser: visible answer, controls, keyboard, print, accessibility, hostile texts."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from structpred.comparison.across import Across
from structpred.comparison.design import Design
from structpred.report.drawing import COLOURS
from structpred.tuning import Tuning
from tests.support.outputs import HOSTILE, inspection
from tests.support.reports import METRICS, ML, NEAR, RML, a_report
from tests.tuning.test_analysis import CLEAR, outcome, result

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; it is in the extra dev")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.figures,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium in PATH; apt-get install chromium"),
]
SIZES = pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
RATES = {"ML": 0.3, "smoothing": 0.25, "RML": 0.1}
TEXTS = "all => all.map(b => [...b.childNodes].filter(n => n.nodeName != 'DEL').map(n => n.textContent).join(''))"
"""Outputs without what they lack."""
STOPPED = outcome(9, 0.5, [], "pruned")
NAME = f"{HOSTILE} ]]> --> ${{title}} {{{{ 7 * 7 }}}}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    plain = a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML)
    plain = replace(plain, design=Design(pairs="all"), inspection=inspection(RATES, 5, 60))
    hostile = a_report(METRICS, **{NAME: ML, "RML": RML})
    hostile = replace(hostile, inspection=inspection({NAME: 0.3, "RML": 0.1}, 5, 30, hostile=True))
    for name, report in {"plain": plain, "hostile": hostile}.items():
        report.write(place / name)
    return {name: place / name / "report.html" for name in ("plain", "hostile")}


class Opened:
    """A page and everything that its console said."""

    def __init__(self, browser: Any, file: Path, size: tuple[int, int], **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append("a dialog"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            self.page.wait_for_selector("html[data-drawn]")

    def close(self) -> None:
        assert self.said == []
        assert len(self.requests) == 1, "the page fetched something"
        self.context.close()


def serious(page: Any) -> list[tuple[str, str]]:
    """What axe-core finds serious or critical; it is a script of its own, for which the page's policy is bypassed."""
    found = axe.Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]


@pytest.fixture
def opened(browser: Any, files: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page ``plain`` at the size of the test, a desktop's by default; its console must stay empty."""
    size = request.getfixturevalue("size") if "size" in request.fixturenames else (1280, 800)
    page = Opened(browser, files["plain"], size)
    yield page.page
    page.close()


@SIZES
def test_answer_and_picture_are_visible_without_scrolling(opened: Any, size: tuple[int, int]) -> None:
    lead, picture = opened.locator("p.lead").first.bounding_box(), opened.locator("figure svg").first.bounding_box()
    assert (
        opened.locator("p.lead").first.inner_text().startswith("On test PER, at the 5 % level, RML is better than ML")
    )
    for box in (lead, picture):
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1]
    names = opened.locator("figure svg").first.locator("g").evaluate_all("all => all.map(g => g.ariaLabel)")
    assert [name.partition(" (")[0] for name in names] == ["RML", "smoothing", "ML"], "the best first"
    assert opened.evaluate("document.documentElement.scrollWidth") <= size[0], "the page scrolls sideways"


@SIZES
def test_an_arm_is_hidden_everywhere_and_shown_again(opened: Any, size: tuple[int, int]) -> None:
    def seen() -> tuple[int, int, int]:
        cells = opened.locator("tbody td:first-child:visible").filter(has_text=re.compile("^smoothing$"))
        drawn = opened.locator('figure svg g[aria-label^="smoothing"]').count()
        return cells.count(), drawn, opened.locator(".example dt:visible", has_text="smoothing").count()

    before = seen()
    button = opened.locator(".arms").get_by_role("button", name="smoothing", exact=True)
    button.focus()
    opened.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert seen() == (0, 0, 0)
    assert opened.locator("th:visible").filter(has_text=re.compile("^(− )?smoothing$")).count() == 0
    opened.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "true"
    assert seen() == before
    assert all(before)


@SIZES
def test_a_table_is_sorted_by_its_heading(opened: Any, size: tuple[int, int]) -> None:
    table = opened.locator(".scroll table").first
    first = "all => all.map(row => row.cells[0].textContent)"
    assert table.locator("tbody tr").evaluate_all(first) == ["ML", "smoothing", "RML"]
    heading = table.get_by_role("button", name="test PER (%)")
    heading.focus()
    opened.keyboard.press("Enter")
    assert table.locator("tbody tr").evaluate_all(first) == ["RML", "smoothing", "ML"]
    assert table.locator("th", has_text="test PER").get_attribute("aria-sort") == "ascending"
    heading.press("Enter")
    assert table.locator("tbody tr").evaluate_all(first) == ["ML", "smoothing", "RML"]
    table.get_by_role("button", name="p (Holm)").press("Enter")
    assert table.locator("tbody tr").evaluate_all(first)[-1] == "ML", "what has no value comes last"


def test_values_are_read_by_pointer_focus_and_arrow_keys(opened: Any) -> None:
    figure = opened.locator("figure").first
    figure.locator("g").first.focus()
    assert figure.locator(".reading").inner_text().startswith("RML (better): mean 11.28, ")
    assert "seed 4: 11.40" in figure.locator(".reading").inner_text()
    figure.locator("g").last.hover()
    assert figure.locator(".reading").inner_text().startswith("ML (baseline): mean 12.20")
    curves = opened.locator("figure", has_text="Dev PER after each epoch")
    svg = curves.locator("svg")
    svg.focus()
    svg.press("ArrowRight")
    assert curves.locator(".reading").inner_text() == "epoch 1: ML 51.95, smoothing 51.91, RML 51.03"
    svg.press("ArrowRight")
    svg.press("ArrowLeft")
    assert curves.locator(".reading").inner_text().startswith("epoch 1: ")
    curves.locator("select").select_option("seconds of training")
    svg.press("ArrowRight")
    svg.press("ArrowRight")
    assert curves.locator(".reading").inner_text().startswith("seconds of training 4: ")


def test_scores_are_read_against_a_number_and_hidden_with_their_arms(browser: Any, tmp_path: Path) -> None:
    a_report(METRICS[:1], ML=ML, cold=NEAR, warm=RML, hot=ML).write(tmp_path)
    opened = Opened(browser, tmp_path / "report.html", (1280, 800))
    figure = opened.page.locator("figure", has_text="Test PER against temperature")
    figure.locator("svg").focus()
    figure.locator("svg").press("ArrowRight")
    assert figure.locator(".reading").inner_text() == "temperature 0.1: cold 12.16 (11.72 to 12.60)"
    for _ in range(2):
        figure.locator("svg").press("ArrowRight")
    assert figure.locator(".reading").inner_text().startswith("temperature 0.3: hot 12.20")
    assert figure.locator("circle").count() == 3 * 5, "one dot per seed"
    opened.page.locator(".arms").get_by_role("button", name="warm", exact=True).click()
    assert figure.locator("circle").count() == 2 * 5
    opened.close()


@SIZES
def test_values_of_trials_are_read_as_those_of_arms_are(browser: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    study = replace(result(CLEAR), outcomes=(*result(CLEAR).outcomes, replace(STOPPED, epochs={1: 50.0, 2: 40.0})))
    Tuning({"s": study}, {"s": {"tau": 0.75, "other": 0.25}}, "").write(tmp_path)
    opened = Opened(browser, tmp_path / "report.html", size, bypass_csp=True)
    readings = []
    for figure in opened.page.locator("figure[data-chart]").all():
        place = figure.locator("[tabindex]").first
        place.focus()
        place.press("ArrowRight")
        place.press("ArrowRight")
        readings.append(figure.locator(".reading").inner_text())
    assert readings == [
        "tau 0.02: trial 1 15.50 (15.00 to 16.00)",
        "finished trial, in order 2: the best so far 15.50, trial 1 15.50",
        "epoch 2: trial 9 (pruned) 40.00",
        "tau: 0.75",
    ]
    slices = opened.page.locator("figure").first
    slices.locator("svg").hover(position={"x": 60, "y": 100})
    assert slices.locator(".reading").inner_text() == "tau 0.01: trial 0 20.50 (20.00 to 21.00)"
    assert slices.locator('circle[fill="#c8641b"]').count() == 2, "the seeds of the best trial"
    assert slices.locator('path[fill="#c8641b"]').count() == 1, "the band"
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert serious(opened.page) == []
    opened.close()


@SIZES
def test_arms_across_tasks_have_one_colour_each_and_are_hidden_in_tables_and_pictures(
    browser: Any, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Three tasks whose arms come in the same order; the profile is of all of them together."""
    tasks = {"one": RML, "two": ML, "three": NEAR}
    reports = {task: a_report(METRICS[:1], ML=ML, smoothing=NEAR, RML=scores) for task, scores in tasks.items()}
    Across(reports).write(tmp_path)
    opened = Opened(browser, tmp_path / "report.html", size)
    page = opened.page
    buttons = page.locator(".arms button")
    assert buttons.all_inner_texts() == ["ML", "smoothing", "RML"]
    colours = buttons.evaluate_all("all => all.map(each => each.style.getPropertyValue('--arm'))")
    assert colours == list(COLOURS[:3])
    profile = page.locator("figure", has_text="Performance profile")
    dots = page.locator("figure[data-chart]").first

    def seen() -> tuple[list[str], list[str], int, int]:
        lines = profile.locator("svg polyline[stroke]").evaluate_all(
            "all => all.map(each => each.getAttribute('stroke'))"
        )
        names = dots.locator("svg g").evaluate_all("all => all.map(g => g.ariaLabel.split(' (')[0].split(':')[0])")
        heads = page.locator("th:visible").filter(has_text=re.compile("^smoothing$"))
        rows = page.locator("tbody td:first-child:visible").filter(has_text=re.compile("^smoothing( − ML)?$"))
        return lines, names, heads.count(), rows.count()

    before = seen()
    assert before[0] == list(COLOURS[:3]), "as their buttons"
    assert sorted(before[1]) == ["ML", "RML", "smoothing"]
    assert before[2] >= 1, "a column of the table of tasks"
    assert before[3] >= 2
    buttons.filter(has_text="smoothing").click()
    assert seen()[0] == [COLOURS[0], COLOURS[2]], "the others keep theirs"
    assert sorted(seen()[1]) == ["ML", "RML"]
    assert seen()[2:] == (0, 0)
    assert page.locator("tbody td:first-child:visible").filter(has_text=re.compile("^two$")).count() == 1
    buttons.filter(has_text="smoothing").click()
    assert seen() == before
    opened.close()


@SIZES
def test_examples_are_filtered_sorted_and_paged(opened: Any, size: tuple[int, int]) -> None:
    box = opened.locator("[data-browser]")
    status = box.get_by_role("status")
    assert status.inner_text() == "1 to 10 of 60 examples"
    box.get_by_role("button", name="Next →").press("Enter")
    assert status.inner_text() == "11 to 20 of 60 examples"
    box.get_by_label("Show").select_option("only RML is right")
    assert status.inner_text().startswith("1 to ")
    for card in box.locator("article").all():
        verdicts = card.locator("small").all_inner_texts()
        assert [verdict.strip() == "right" for verdict in verdicts] == [False, False, True]
    box.get_by_label("Show").select_option("arms disagree")
    for card in box.locator("article").all():
        texts = card.locator("dd bdi").evaluate_all(TEXTS)[2:]
        assert len({"".join(text.split()) for text in texts}) > 1
    box.get_by_label("Show").select_option("all examples")
    box.get_by_label("Sort by").select_option("gain of RML over ML")
    counts = [[int(each.split()[0]) if "edit" in each else 0 for each in card.locator("small").all_inner_texts()]
              for card in box.locator("article").all()]  # fmt: skip
    gains = [ml - rml for ml, _, rml in counts]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0
    assert box.locator("article mark").count() + box.locator("article del").count() > 0
    box.get_by_label("Seed").select_option("3")
    assert status.inner_text() == "1 to 10 of 60 examples"


@SIZES
def test_tables_scroll_with_their_first_column_and_say_so(opened: Any, size: tuple[int, int]) -> None:
    box = opened.locator(".scroll").first
    wide = box.evaluate("box => box.scrollWidth > box.clientWidth + 1")
    assert opened.locator(".scroll + .hint").first.is_visible() == wide
    assert wide or size[0] == 1280
    box.evaluate("box => { box.scrollLeft = 200; }")
    cell, left = box.locator("tbody td").first.bounding_box(), box.bounding_box()
    assert cell["x"] == pytest.approx(left["x"], abs=1)


def test_the_printed_page_is_light_and_has_no_controls(browser: Any, files: dict[str, Path]) -> None:
    page = Opened(browser, files["plain"], (1280, 800), color_scheme="dark")
    dark = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.page.emulate_media(media="print", color_scheme="dark")
    assert dark == "rgb(20, 24, 28)"
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.page.locator(".controls:visible, .arms:visible, .hint:visible").count() == 0
    assert page.page.locator("figure svg:visible").count() == 6
    assert len(page.page.pdf()) > 20_000
    page.close()


@SIZES
@pytest.mark.parametrize("name", ["plain", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    browser: Any, files: dict[str, Path], name: str, size: tuple[int, int], scheme: str
) -> None:
    page = Opened(browser, files[name], size, bypass_csp=True, color_scheme=scheme)
    assert serious(page.page) == []
    page.close()


@SIZES
def test_hostile_names_and_texts_do_nothing(browser: Any, files: dict[str, Path], size: tuple[int, int]) -> None:
    opened = Opened(browser, files["hostile"], size)
    page = opened.page
    assert page.locator("script").count() == 2
    assert page.locator("b, [onclick], [style*=url]").count() == 0
    shown = page.locator("article dd bdi").first.inner_text()
    assert "<script>alert(1)</script>" in shown
    assert "a␣b" in shown
    assert "\u202e" not in page.content()
    assert page.locator('bdi[dir="auto"]').count() == page.locator("article dd").count()
    assert "(10,000␣symbols␣in␣all)" in page.locator("article").nth(2).inner_text()
    assert "{{ 7 * 7 }}" in page.title()
    page.locator(".arms button").first.click()
    assert page.locator(".arms button").first.get_attribute("aria-pressed") == "false"
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    opened.close()


def test_without_scripts_the_page_has_its_text_tables_and_drawings(browser: Any, files: dict[str, Path]) -> None:
    page = Opened(browser, files["plain"], (1280, 800), java_script_enabled=False)
    assert page.page.locator("figure svg").count() == 6
    assert page.page.get_by_text("The examples are shown by a script").is_visible()
    page.close()
