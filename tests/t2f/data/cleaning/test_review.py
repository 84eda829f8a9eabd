import base64
import hashlib
import re
from html import unescape
from pathlib import Path

from t2f.data.cleaning import Cleaning, clean, load_rules, review
from t2f.data.cleaning.review import marked, review_page
from t2f.data.cleaning.source import clean_source
from t2f.data.readers import Example

RULES = load_rules()


def page_of(*captions, title="faces"):
    examples = [Example(image_id=f"<{n}>", path=Path(f"{n}.png"), captions=(text,)) for n, text in enumerate(captions)]
    cleaning = Cleaning(mode="strict", rules=RULES)
    cleaned = clean_source(examples, cleaning)
    return review_page(cleaned.changes, {**cleaning.plain(), "rules": "built-in", **cleaned.counts()}, title=title)


def test_what_went_is_struck_through_and_what_stands_instead_follows():
    assert marked(clean("an ugly nurse with freckles", "strict", RULES)) == (
        '<del class="abuse" title="abuse">an</del> <ins>a</ins> <del class="abuse" title="abuse">ugly</del> '
        '<del class="occupation" title="occupation">nurse</del> <ins>person</ins> with freckles'
    )


def test_the_marked_caption_without_its_marks_is_the_caption_before_and_after():
    caption = "probably a clever man in the photo, he seems to be tired because he works. brown beard & hat"
    cleaned = clean(caption, "strict", RULES)
    html = marked(cleaned)
    before = unescape(re.sub(r" <ins>.*?</ins>", "", html))
    assert re.sub(r"</?del.*?>", "", before) == cleaned.mended == caption
    after = unescape(re.sub(r"<del.*?</del>", "", html))
    assert re.sub(r"\W", "", re.sub(r"</?ins>", "", after)) == re.sub(r"\W", "", cleaned.text)


def test_nothing_of_a_caption_is_markup_or_script():
    page = page_of('an ugly man </script><script>alert("x")</script> with brown hair', title="<b>")
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<title>Captions of &lt;b&gt;, cleaned</title>" in page
    assert "&lt;0&gt;" in page
    assert "alert(&quot;" not in page.split("<script>")[1]


def test_only_its_own_script_may_run_and_nothing_is_fetched():
    page = page_of("an ugly man with brown hair")
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page
    assert not re.search(r"(?:src|href)=", page)


def test_reasons_and_categories_can_be_filtered():
    page = page_of("a nurse", "an ugly man with brown hair", "a man")
    assert 'data-category="occupation" aria-pressed="false">occupation 1<' in page
    assert 'data-category="too short" aria-pressed="false">too short 1<' in page
    assert '<article data-categories="occupation">' in page
    assert "rejected: occupation" in page
    assert "3 captions: 1 changed, 2 rejected" in page


def test_of_very_many_captions_some_from_all_over_are_shown(monkeypatch):
    monkeypatch.setattr(review, "MAX_SHOWN", 4)
    page = page_of(*(f"an ugly man of {20 + n} with brown hair" for n in range(10)))
    assert page.count("<article") == 4
    assert "Of 10 changed captions 4 are shown." in page
    assert "28 with brown hair" in page or "29 with brown hair" in page
