"""Pictures of cartoon faces for tests: drawn large, then shrunk to what a stage would have."""

import io
import random

from PIL import Image, ImageDraw

SKINS = ["#f2d3b1", "#e5b58a", "#c98c5e", "#8d5a3a", "#5c3a26"]
HAIRS = ["#2b1d14", "#7a4a21", "#d8a441", "#b5482a", "#9a9a9a"]
CAPTIONS = [
    "a woman with long blond hair and glasses",
    "a man with short black hair and a full beard",
    "a person with brown skin and curly red hair, smiling",
    "a bald man with light skin",
    "a young woman with grey hair, her mouth open",
    "someone with dark skin, round glasses and a moustache",
    "a smiling face with brown hair",
    "a man with pale skin, black hair and sunglasses",
]


def face(caption: int, seed: int, resolution: int, noise: float) -> Image.Image:
    """One face; the caption decides what it shows, the seed varies it, noise spoils it."""
    look, vary = random.Random(caption), random.Random(caption * 100 + seed)
    skin, hair = look.choice(SKINS), look.choice(HAIRS)
    picture = Image.new("RGB", (96, 96), vary.choice(["#dde6f0", "#e9e2d6", "#d7e8dc"]))
    draw = ImageDraw.Draw(picture)
    shift = vary.randint(-5, 5)
    draw.ellipse((14 + shift, 6, 82 + shift, 86), fill=hair)
    draw.rectangle((38 + shift, 70, 58 + shift, 96), fill=skin)
    draw.ellipse((22 + shift, 20, 74 + shift, 84), fill=skin)
    for eye in (36, 60):
        draw.ellipse((eye - 5 + shift, 42, eye + 5 + shift, 52), fill="white")
        draw.ellipse((eye - 2 + shift, 45, eye + 2 + shift, 50), fill="#202020")
        if caption in (0, 5, 7):
            draw.rectangle((eye - 9 + shift, 38, eye + 9 + shift, 55), outline="#303030", width=3)
    draw.arc((38 + shift, 56, 58 + shift, 74), 10, 170, fill="#a0303a", width=4)
    small = picture.resize((resolution, resolution), Image.Resampling.BOX)
    if noise:
        spoiled = small.effect_spread(max(1, round(noise * resolution / 8)))
        small = Image.blend(small, spoiled, min(1.0, noise))
    return small


def sample_png(resolution: int, *, noise: float = 0.0, seeds: int = 6, captions: int = len(CAPTIONS)) -> bytes:
    """A wall: a row for each caption, a column for each seed."""
    wall = Image.new("RGB", (seeds * resolution, captions * resolution))
    for row in range(captions):
        for column in range(seeds):
            wall.paste(face(row, column, resolution, noise), (column * resolution, row * resolution))
    buffer = io.BytesIO()
    wall.save(buffer, format="PNG")
    return buffer.getvalue()
