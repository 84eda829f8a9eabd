"""docs/settings.md, made from the settings' own declarations: `python -m t2f.settings_page > docs/settings.md`."""

from t2f.settings import PRESETS, SETTINGS, describe_allowed


def settings_page() -> str:
    """The page as Markdown."""
    lines = [
        "# Settings",
        "",
        "Every setting of a training, by its full name. Made from `t2f/settings.py`; a test compares the two.",
        "",
        f"| setting | meaning | allowed | {' | '.join(f'`{preset}`' for preset in PRESETS)} | from stage | source |",
        "|---|---|---|" + "---|" * len(PRESETS) + "---|---|",
    ]
    for name, field in SETTINGS.items():
        meta = field.metadata
        values = [str(preset.get(name, field.default)) for preset in PRESETS.values()]
        when = "; ".join(f"only with `{other}` {' or '.join(map(str, some))}" for other, some in meta["when"].items())
        meaning = f"{meta['text']}{f' ({when})' if when else ''}"
        late = "no" if meta["scope"] == "architecture" else "yes"
        cells = (f"`{name}`", meaning, describe_allowed(name), *values, late, meta["source"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "*from stage*: whether the value may change at a later stage (`from_stage: R` in a sweep file).", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(settings_page(), end="")
