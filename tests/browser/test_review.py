"""The review of cleaned captions in a real Chromium, from a file."""

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from t2f.data.cleaning import Cleaning
from t2f.data.cleaning.review import review_page
from t2f.data.cleaning.source import clean_source
from t2f.data.readers import Example

pytestmark = pytest.mark.browser


def test_captions_are_filtered_by_category_and_searched(browser, tmp_path):
    captions = ["an ugly man with brown hair", "a nurse with <b>brown</b> hair", "probably an ugly woman with red hair"]
    examples = [Example(image_id=str(n), path=Path(f"{n}.png"), captions=(text,)) for n, text in enumerate(captions)]
    cleaning = Cleaning(mode="strict")
    cleaned = clean_source(examples, cleaning)
    page = tmp_path / "review.html"
    counts = {**cleaning.plain(), "rules": "built-in", **cleaned.counts()}
    page.write_text(review_page(cleaned.changes, counts, title="faces"), encoding="utf-8")
    browser.get(page.as_uri())

    def shown():
        return [row.text for row in browser.find_elements(By.TAG_NAME, "article") if row.is_displayed()]

    assert len(shown()) == 3
    assert browser.find_element(By.ID, "count").text == "3 of 3 shown"
    assert "a nurse person with < b > brown" in shown()[1]
    browser.find_element(By.CSS_SELECTOR, "button[data-category=abuse]").click()
    assert len(shown()) == 2
    browser.find_element(By.ID, "search").send_keys("RED")
    (row,) = shown()
    assert "a woman with red hair" in row
    browser.find_element(By.CSS_SELECTOR, "button[data-category=abuse]").click()
    browser.find_element(By.ID, "search").clear()
    struck = browser.find_element(By.CSS_SELECTOR, "del.abuse")
    assert "line-through" in struck.value_of_css_property("text-decoration")
    assert browser.get_log("browser") == []
