"""The command that cleans captions and shows what goes, and the options for it that `t2f data prepare` has too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from t2f.cli import AsJson, console, print_json
from t2f.data import Cleaning, load_rules, read_source, recognise
from t2f.data.cleaning.review import MAX_SHOWN, review_page
from t2f.data.cleaning.source import CaptionChange, clean_source
from t2f.data.files import writing
from t2f.errors import DataError, SpecError

ModeOption = Annotated[str, typer.Option("--clean", help="Of the captions: off, light or strict.")]
RulesOption = Annotated[
    Path | None, typer.Option("--clean-rules", help="A YAML file that adds to the cleaning rules, or takes from them.")
]
_EXAMPLES = 4  # of changed captions, and of rejected ones, that are printed


def chosen_cleaning(mode: str, rules: Path | None) -> Cleaning | None:
    if mode == "off":
        if rules is not None:
            raise SpecError(f"--clean-rules {rules} is given without --clean; add --clean light or --clean strict")
        return None
    return Cleaning(mode=mode, rules=load_rules(rules))


def clean_command(
    source: Annotated[Path, typer.Argument(help="Folder that holds the data set.")],
    format: Annotated[str | None, typer.Option("--format", help="Default: found by itself.")] = None,
    mode: Annotated[str, typer.Option(help="light or strict.")] = "strict",
    rules: Annotated[
        Path | None, typer.Option("--rules", help="A YAML file that adds to the rules, or takes from them.")
    ] = None,
    review: Annotated[Path | None, typer.Option(help="An HTML page to write: each caption before and after.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what cleaning the captions of a data set takes away; the data set itself stays as it is."""
    if review is not None and review.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"--review {review} is not allowed; give a file that ends in .html")
    cleaning = Cleaning(mode=mode, rules=load_rules(rules))
    examples = read_source(format or recognise(source)[0].name, source)
    if not any(example.captions for example in examples):
        raise DataError(f"{source} holds no captions, so there is nothing to clean")
    cleaned = clean_source(examples, cleaning)
    counts = {**cleaning.plain(), "rules": cleaning.rules.name, **cleaned.counts()}
    if review is not None:
        write_review(review, cleaned.changes, counts, title=source.resolve().name)
    if as_json:
        print_json(counts)
        return
    say_cleaned(counts)
    say_examples(cleaned.changes)
    if review is not None:
        shown = min(len(cleaned.changes), MAX_SHOWN)
        console.print(f"{review}: {shown:,} captions before and after")


def write_review(path: Path, changes: Sequence[CaptionChange], counts: Mapping[str, Any], *, title: str) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(review_page(changes, counts, title=title), encoding="utf-8")


def say_cleaned(counts: Mapping[str, Any]) -> None:
    """What was cleaned, as the manifest has it."""
    console.print(
        f"captions cleaned ({counts['mode']}, rules {counts['rules']} {counts['rules_sha256'][:12]}): "
        f"{counts['changed']:,} of {counts['captions']:,} changed, {counts['rejected']:,} rejected"
    )
    table = Table("category", "captions it was taken from", "captions rejected for it")
    for category in dict.fromkeys([*counts["removed"], *counts["reasons"]]):
        table.add_row(category, f"{counts['removed'].get(category, 0):,}", f"{counts['reasons'].get(category, 0):,}")
    console.print(table)
    emptied = counts["images_without_captions_left"]
    if emptied:
        left_out = f" ({counts['images_left_out']:,})" if "images_left_out" in counts else ""
        console.print(
            f"{emptied:,} images lost all their captions: those for training are kept without, held-out ones left "
            f"out{left_out}"
        )


def say_examples(changes: Sequence[CaptionChange]) -> None:
    changed = [change for change in changes if change.cleaned.text is not None]
    rejected = [change for change in changes if change.cleaned.text is None]
    for change in (*evenly(changed), *evenly(rejected)):
        after = change.cleaned.text or f"(rejected: {change.cleaned.reason})"
        console.print(f"  {escape(change.before)}\n    [green]{escape(after)}[/green]", markup=True)


def evenly(changes: Sequence[CaptionChange]) -> Sequence[CaptionChange]:
    """A few from all over."""
    return changes[:: max(1, len(changes) // _EXAMPLES)][:_EXAMPLES]
