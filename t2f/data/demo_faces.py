"""The demo's faces: which attributes there are, and the picture of a combination of them.

Every value was chosen on a contact sheet so that it can be told from the others at 32 px; values that could not
(sad and serious mouths, a second brown) are left out.
"""

import io
import json
import random
from importlib.resources import files

from PIL import Image

from t2f.errors import DataError

RESOLUTION = 64

SKINS = {
    "pale": "#ffe3cf",
    "golden": "#f8d25c",
    "tan": "#e0a878",
    "olive": "#b89a5e",
    "brown": "#b3703f",
    "dark": "#432a21",
}
HAIR_COLOURS = {
    "black": "#1d1817",
    "brown": "#703d1e",
    "ginger": "#e8741f",
    "blonde": "#f3e2a0",
    "grey": "#9b9ba3",
    "white": "#f6f4f4",
    "pink": "#f0709c",
    "blue": "#3f6fd1",
}
HAIR_STYLES = {
    "short": "shortFlat",
    "shaggy": "shaggy",
    "quiff": "frizzle",
    "bun": "bun",
    "bob": "bob",
    "long": "straight02",
    "afro": "fro",
    "curly": "dreads02",
}
FACIAL_HAIR = {"none": None, "short beard": "beardLight", "full beard": "beardMajestic", "moustache": "moustacheMagnum"}
# Each kind of glasses has one frame colour, because dark frames cannot be seen on dark skin, nor white ones on pale.
GLASSES = {
    "none": None,
    "round": ("round", "#1e63e9"),
    "square": ("prescription01", "#e8132b"),
    "sunglasses": ("kurt", "#ffffff"),
}
MOUTHS = {"smile": "smile", "serious": "serious", "teeth": "grimace", "tongue": "tongue"}
HIDDEN_MOUTH = "hidden"  # under a moustache: one fixed mouth, of which captions say nothing

# Facial hair and mouth belong together: a moustache hides the mouth.
_LOWER_FACES = [(hair, mouth) for hair in FACIAL_HAIR if hair != "moustache" for mouth in MOUTHS]
_LOWER_FACES.append(("moustache", HIDDEN_MOUTH))
_PRODUCT = (tuple(SKINS), tuple(HAIR_COLOURS), tuple(HAIR_STYLES), tuple(GLASSES), tuple(_LOWER_FACES))
NUM_COMBINATIONS = len(SKINS) * len(HAIR_COLOURS) * len(HAIR_STYLES) * len(GLASSES) * len(_LOWER_FACES)


def combination(number: int) -> dict[str, str]:
    """The attributes of combination `number` in [0, NUM_COMBINATIONS): attribute name to value."""
    chosen = []
    for values in _PRODUCT:
        number, place = divmod(number, len(values))
        chosen.append(values[place])
    skin, hair_colour, hair_style, glasses, (facial_hair, mouth) = chosen
    return {
        "skin": skin,
        "hair_colour": hair_colour,
        "hair_style": hair_style,
        "facial_hair": facial_hair,
        "glasses": glasses,
        "mouth": mouth,
    }


def draw_combinations(count: int, seed: int) -> list[dict[str, str]]:
    """`count` different combinations in random order, the same ones for the same seed."""
    return [combination(number) for number in random.Random(seed).sample(range(NUM_COMBINATIONS), count)]


class Painter:
    """Draws faces; needs the extra `demo`, and says so where it is missing."""

    def __init__(self) -> None:
        # Imported here because only the demo data needs these optional packages.
        try:
            import resvg_py
            from dicebear import Avatar, Style
        except ImportError as error:
            raise DataError(
                f"the demo faces need the package {error.name}, which is not installed; "
                'install the extra with `pip install "t2f[demo]"`'
            ) from None
        definition = json.loads(files("dicebear_styles").joinpath("avataaars.json").read_text("utf-8"))
        self._avatar, self._style, self._svg_to_bytes = Avatar, Style(definition), resvg_py.svg_to_bytes

    def draw(self, attributes: dict[str, str]) -> Image.Image:
        """The face with these attributes: RGB, 64 x 64."""
        svg = self._avatar(self._style, _drawing(attributes)).to_string()
        png = self._svg_to_bytes(svg_string=svg, skip_system_fonts=True, width=96, height=96)
        with Image.open(io.BytesIO(png)) as image:
            # Drawn at 96 px and cropped, so that the head fills the 64 px and the shirt is gone.
            return image.convert("RGB").crop((16, 4, 16 + RESOLUTION, 4 + RESOLUTION))


def _drawing(attributes: dict[str, str]) -> dict[str, object]:
    """The library's options for these attributes; one value for each, so that its own seed decides nothing."""
    hair_colour = HAIR_COLOURS[attributes["hair_colour"]]
    drawing: dict[str, object] = {
        "seed": "",
        "size": 96,
        "backgroundColor": "#b8d4e8",
        "clothesVariant": "shirtCrewNeck",
        "clothesColor": "#3c4f5c",
        "eyebrowsVariant": "defaultNatural",
        "eyesVariant": "default",
        "noseVariant": "default",
        "skinColor": SKINS[attributes["skin"]],
        "topProbability": 100,
        "topVariant": HAIR_STYLES[attributes["hair_style"]],
        "hairColor": hair_colour,
        "hatColor": "#262e33",
        "mouthVariant": MOUTHS.get(attributes["mouth"], "serious"),
        "facialHairProbability": 0,
        "facialHairColor": hair_colour,
        "accessoriesProbability": 0,
        "accessoriesColor": "#262e33",
    }
    facial_hair = FACIAL_HAIR[attributes["facial_hair"]]
    if facial_hair is not None:
        drawing |= {"facialHairProbability": 100, "facialHairVariant": facial_hair}
    glasses = GLASSES[attributes["glasses"]]
    if glasses is not None:
        variant, colour = glasses
        drawing |= {"accessoriesProbability": 100, "accessoriesVariant": variant, "accessoriesColor": colour}
    return drawing
