"""Numbers, times and names in the words of the pages: the filters of the templates."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote

from markupsafe import Markup

from scheduler.labels import labels_text
from t2f.gates import MEANING
from t2f.metrics.figures import decimals

NAMES_SHOWN = 8
NAMES = {
    "r_precision": "R-precision",
    "judge_r_precision": "the judge's own R-precision",
    "pixel_mmd": "pixel MMD",
    "nearest_face": "nearest other face (reals: 1)",
    "nearest_training": "nearest training image (held-out reals: 1)",
    "copied_share": "copies of training images",
}


def percent(share: float) -> str:
    return f"{math.floor(100 * share)} %"


def count(number: float) -> str:
    """A count with its thousands apart: 12 800."""
    return f"{number:,.0f}".replace(",", "\u202f")


def size(number: float) -> str:
    """Bytes in the unit that fits: 1.2 GiB."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def duration(seconds: float) -> str:
    """Seconds in at most two units: 41 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    left = max(0, round(seconds))
    if left < 60:
        return f"{left} s"
    for unit, larger, name, smaller in ((60, 3600, "min", "s"), (3600, 86400, "h", "min"), (86400, math.inf, "d", "h")):
        if left < larger:
            whole, rest = divmod(left, unit)
            rest //= {"s": 1, "min": 60, "h": 3600}[smaller]
            return f"{whole} {name} {rest} {smaller}" if rest else f"{whole} {name}"
    raise AssertionError("every duration is below infinity")


def when(seconds: float) -> Markup:
    """A time of day, or a date with it; in UTC, with the machine-readable form beside it."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), moment.strftime("%Y-%m-%d %H:%M UTC")
    )


def setting(value: object) -> str:
    """A setting's value as a sweep file would have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def setting_at_a_glance(value: object) -> str:
    """The same with as many digits as tell trials apart."""
    return f"{value:.4g}" if isinstance(value, float) else setting(value)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Each full setting name with its last part where that is telling alone: learning_rate, but loss.name."""
    names = list(names)
    last = {name: name.rpartition(".")[2] for name in names}
    unique = {name: list(last.values()).count(last[name]) == 1 and last[name] != "name" for name in names}
    return {name: last[name] if unique[name] else name for name in names}


def trial_names(numbers: Iterable[int]) -> str:
    """T1, T2 and T5; of many only the first few."""
    names = [f"T{number}" for number in numbers]
    if len(names) > NAMES_SHOWN:
        return f"{', '.join(names[:NAMES_SHOWN])} and {len(names) - NAMES_SHOWN} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"


def measure_name(name: str) -> str:
    """A metric's name in words: attribute_hair_colour is "attribute: hair colour"."""
    if name.startswith("swd"):
        return f"SWD at {name.removeprefix('swd_')} px" if name.startswith("swd_") else "SWD"
    if name in NAMES:
        return NAMES[name]
    if name.startswith("attribute_") and name != "attribute_share":
        return f"attribute: {name.removeprefix('attribute_').replace('_', ' ')}"
    return name.replace("_", " ")


def first_line(text: str) -> str:
    """The line of an error that says most: a traceback's last, else the first."""
    lines = [line for line in text.strip().splitlines() if line.strip()] or [""]
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return line if len(line) <= 200 else f"{line[:200]} …"


def sweep_url(name: str) -> str:
    return f"/sweeps/{quote(name, safe='')}"


def trial_url(sweep: str, number: int) -> str:
    return f"{sweep_url(sweep)}/trials/{number}"


def trial_url_by_name(name: str) -> str:
    """The address of SWEEP/T12."""
    sweep, _, number = name.rpartition("/T")
    return trial_url(sweep, int(number))


def gates(names: Iterable[str]) -> str:
    """What the closed gates mean, in a sentence's part."""
    return "; ".join(f"{MEANING[name]} (gate: {name})" for name in names)


FILTERS = {
    "bytes": size,
    "count": count,
    "decimals": decimals,
    "duration": duration,
    "first_line": first_line,
    "gates": gates,
    "labels": labels_text,
    "measure_name": measure_name,
    "percent": percent,
    "setting": setting,
    "setting_at_a_glance": setting_at_a_glance,
    "trial_names": trial_names,
    "when": when,
}
