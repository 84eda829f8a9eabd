"""The pages in a real Chromium: they draw, follow the database without a reload, and break no rule of their own."""

import time

import pytest
import sqlalchemy as sa
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from scheduler.store import Store
from tests.dashboard.conftest import fill

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def text(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def until(browser: webdriver.Chrome, condition, seconds: float = 15.0):
    return WebDriverWait(browser, seconds, poll_frequency=0.1).until(lambda _: condition())


def assert_clean(browser: webdriver.Chrome) -> None:
    """No error in the console (a broken content security policy is one), and every picture has pixels."""
    errors = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert errors == []
    # Pictures below the window are loaded when they are scrolled to, so they are not complete yet.
    broken = browser.execute_script(
        "return [...document.images].filter(i => i.complete && i.currentSrc && !i.naturalWidth).map(i => i.src)"
    )
    assert broken == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", ["demo", "running"]),
        ("/sweeps/demo", ["T4", "best", "shared by 3 trials", "pruned", "Draw faces"]),
        ("/sweeps/demo/trials/4", ["a woman with long blond hair and glasses", "32 px", "fidelity", "Losses"]),
        ("/workers", ["worker-2", "32 px", "worker-1", "lost"]),
        ("/generate", ["Describe a face", "demo v1"]),
        ("/models/1", ["not evidence", "hair colour", "24,000 captions", "Lineage", "best promoted to v1"]),
    ],
)
@pytest.mark.parametrize("width", [1400, 420])
def test_every_page_draws_wide_and_narrow(served, browser, path, words, width):
    browser.set_window_size(width, 1000)
    browser.get(served.url + path)
    for word in words:
        assert word in text(browser), word
    assert browser.title
    too_wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert too_wide <= 1, "the page does not scroll sideways"
    until(
        browser,
        lambda: browser.execute_script(
            "return [...document.images].every(i => i.complete || i.getBoundingClientRect().top > window.innerHeight)"
        ),
    )
    assert_clean(browser)


def test_a_page_follows_the_database_and_keeps_what_was_typed(served, browser):
    browser.get(f"{served.url}/sweeps/demo")
    sentence = browser.find_element(By.NAME, "sentence")
    sentence.send_keys("curly red h")
    browser.execute_script("window.stillTheSamePage = true; window.scrollTo(0, 150)")
    before = text(browser)
    database = served.home.open()
    fill(
        database,
        lambda connection: connection.execute(
            sa.text("UPDATE trials SET state = 'failed' WHERE number = 2 AND state = 'running'")
        ),
    )
    until(browser, lambda: "failed" in text(browser))
    assert "failed" not in before
    assert browser.execute_script("return window.stillTheSamePage"), "no reload"
    assert browser.execute_script("return window.scrollY") == 150
    sentence.send_keys("air")
    assert sentence.get_attribute("value") == "curly red hair"
    database.close()
    assert_clean(browser)


def test_a_sentence_becomes_faces_on_the_sweeps_page(served, browser):
    browser.get(f"{served.url}/sweeps/demo")
    browser.find_element(By.NAME, "sentence").send_keys("a person with curly redd hair", Keys.ENTER)
    until(browser, lambda: "does not know redd" in text(browser).replace("\n", " "), seconds=60)
    faces = browser.find_elements(By.CSS_SELECTOR, "#drawn svg")
    assert len(faces) == 4
    assert "the nearest word it knows is red" in text(browser)
    assert_clean(browser)


def test_the_page_says_when_the_server_is_gone_and_recovers(served, browser):
    browser.get(f"{served.url}/workers")
    store = Store(served.home.open())
    store.register_worker(name="worker-new", node="desk", pid=1, device="cpu", share=1.0)
    until(browser, lambda: "worker-new" in text(browser))
    browser.set_network_conditions(offline=True, latency=0, throughput=1)
    until(browser, lambda: "connection lost" in text(browser), seconds=30)
    browser.delete_network_conditions()
    store.register_worker(name="worker-newer", node="desk", pid=2, device="cpu", share=1.0)
    until(browser, lambda: "worker-newer" in text(browser), seconds=30)
    until(browser, lambda: "connection lost" not in text(browser))


def test_without_scripts_every_page_still_reads(served, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    for path in ("/", "/sweeps/demo", "/sweeps/demo/trials/4", "/workers"):
        browser.get(served.url + path)
        assert "T2F" in text(browser)
    browser.get(f"{served.url}/generate")
    browser.find_element(By.NAME, "sentence").send_keys("curly red hair", Keys.ENTER)
    deadline = time.monotonic() + 60
    while "drawn=" not in browser.current_url and time.monotonic() < deadline:
        time.sleep(0.1)
    assert browser.find_elements(By.CSS_SELECTOR, "#drawn svg")
