"""The colours of all viewers, pictures and figures, in one place. They are Okabe and Ito's.

The colour of a byte in each state is in `STATES`: that of a rejected byte is its last line. A
colour is never the only cue; the others are drawn by `picture.cell` and, in a page, by base.js.
"""

ORANGE, GREEN, BLUE, RED = "#e69f00", "#009e73", "#0072b2", "#d55e00"
PINK, SKY, YELLOW = "#cc79a7", "#56b4e9", "#f0e442"
GREY = "#777777"
INK, GROUND = "#111111", "#ffffff"  # text, and what it stands on

STATES = {
    "prompt": INK,
    "masked": INK,
    "foreseen": SKY,
    "proposed": ORANGE,
    "accepted": GREEN,
    "replaced": RED,
    "bonus": PINK,
    "kept": BLUE,
    "dropped": SKY,  # the line across it
    "rejected": RED,  # the line that strikes it out
}
HUES = {"orange": ORANGE, "sky": SKY, "green": GREEN, "yellow": YELLOW}
HUES |= {"blue": BLUE, "red": RED, "pink": PINK}
# A page may be dark
ON_ANY_GROUND = {INK: "currentColor", BLUE: "var(--accent)", SKY: "var(--second)"}


def css() -> str:
    """All colours as CSS variables: --orange and the like, and one named for each state of a byte.

    >>> "--orange: #e69f00;" in css() and "--kept: var(--accent);" in css()
    True
    """
    rules = [f"--{name}: {colour};" for name, colour in HUES.items()]
    for name, colour in STATES.items():
        shown = ON_ANY_GROUND.get(colour, colour)
        rules.append(f"--{name}: {shown};")
    return " ".join(rules)


def mix(colour: str, percent: float, ground: str = GROUND) -> str:
    """`percent` of a colour on a ground.

    >>> mix("#000000", 50)
    '#808080'
    """
    mixed = "#"
    for own, other in zip(_channels(colour), _channels(ground), strict=True):
        mixed += f"{round(other + (own - other) * percent / 100):02x}"
    return mixed


def _channels(colour: str) -> bytes:
    """Red, green and blue, each in 0..255."""
    return bytes.fromhex(colour[1:])


SOFT, THIN = mix(INK, 65), mix(INK, 14)


def palette() -> tuple[str, ...]:
    """Every colour of a picture, and the shades between those that touch.

    They are about 120, so that a file needs no more.
    """
    hues = list(dict.fromkeys([*STATES.values(), RED, BLUE]))
    hues.remove(INK)
    tints = [(INK, mix(INK, 4))]
    for thrown in (STATES["rejected"], STATES["dropped"]):
        tints.append((thrown, mix(thrown, 9)))
    for hue in hues:
        tints.append((hue, mix(hue, 15)))
        tints.append((hue, mix(hue, 42)))
    shades = [GROUND]
    for colour in (INK, SOFT, THIN, *hues):
        shades += [mix(colour, percent) for percent in (25, 50, 75, 100)]
    for own, tint in tints:
        shades += [mix(INK, percent, tint) for percent in (0, 25, 50, 75)]
        shades.append(mix(own, 50, tint))
    return tuple(dict.fromkeys(shades))
