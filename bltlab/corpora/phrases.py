"""A translation task that a tiny model can master: French and German to English.

Every answer is exact and unique. A line is a frame, its slots filled with numbers, dates, ordinals,
times, prices, things and places. num2words spells the numbers and Babel writes dates, prices and
grouped digits; frames and words are ours.

What fills a slot is a phrase, (French, German, English); `SLOTS` says which function draws it.
"""

import datetime
import hashlib
import random
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from .packages import Archive, Package
from .recipe import Recipe, Record

LANGUAGES = ("fr", "de")  # the sources; English is the answer
LOCALES = ("fr", "de", "en_US")
HELD_OUT = 20  # one answer in 20 is a test answer, in both languages
LINES = 63_400  # over 60,000 to train on, over 3,000 to test

# The same words in French, German and English. An ordinal before a noun has a fourth part: the
# German accusative.
Phrase = tuple[str, ...]


def table(text: str) -> list[Phrase]:
    """Lines "fr | de | en" as tuples.

    >>> table("au marché | auf dem Markt | at the market")
    [('au marché', 'auf dem Markt', 'at the market')]
    """
    return [_cells(line) for line in text.strip().splitlines()]


def _cells(line: str) -> Phrase:
    return tuple(cell.strip() for cell in line.split("|"))


# Singular, plural and gender (French, German), singular and plural (English).
ANIMALS = table("""
    chien chiens m | Hund Hunde m | dog dogs
    chat chats m | Katze Katzen f | cat cats
    cheval chevaux m | Pferd Pferde n | horse horses
    oiseau oiseaux m | Vogel Vögel m | bird birds
    vache vaches f | Kuh Kühe f | cow cows
    poule poules f | Henne Hennen f | hen hens
    cochon cochons m | Schwein Schweine n | pig pigs
    souris souris f | Maus Mäuse f | mouse mice""")
PEOPLE = table("""
    homme hommes m | Mann Männer m | man men
    femme femmes f | Frau Frauen f | woman women
    enfant enfants m | Kind Kinder n | child children
    soldat soldats m | Soldat Soldaten m | soldier soldiers
    reine reines f | Königin Königinnen f | queen queens""")
THINGS = table("""
    livre livres m | Buch Bücher n | book books
    pomme pommes f | Apfel Äpfel m | apple apples
    lettre lettres f | Brief Briefe m | letter letters
    œuf œufs m | Ei Eier n | egg eggs
    bateau bateaux m | Boot Boote n | boat boats
    voiture voitures f | Auto Autos n | car cars
    chaise chaises f | Stuhl Stühle m | chair chairs
    table tables f | Tisch Tische m | table tables
    fleur fleurs f | Blume Blumen f | flower flowers
    clé clés f | Schlüssel Schlüssel m | key keys
    lampe lampes f | Lampe Lampen f | lamp lamps
    bouteille bouteilles f | Flasche Flaschen f | bottle bottles""")
BIG = table("""
    maison maisons f | Haus Häuser n | house houses
    arbre arbres m | Baum Bäume m | tree trees
    tour tours f | Turm Türme m | tower towers
    pont ponts m | Brücke Brücken f | bridge bridges
    église églises f | Kirche Kirchen f | church churches""")
PLACES = table("""
    dans le jardin | im Garten | in the garden
    sur la montagne | auf dem Berg | on the mountain
    près de la rivière | am Fluss | by the river
    dans la forêt | im Wald | in the forest
    derrière la gare | hinter dem Bahnhof | behind the station
    dans la rue | auf der Straße | in the street
    dans le village | im Dorf | in the village
    sur la plage | am Strand | on the beach
    près du lac | am See | by the lake
    devant le château | vor dem Schloss | in front of the castle
    dans la ville | in der Stadt | in the city
    au marché | auf dem Markt | at the market""")
WHO = table("""
    mon frère | mein Bruder | my brother
    ma sœur | meine Schwester | my sister
    le roi | der König | the king
    notre voisin | unser Nachbar | our neighbor
    la fille | das Mädchen | the girl
    le garçon | der Junge | the boy
    ma mère | meine Mutter | my mother
    le médecin | der Arzt | the doctor
    Marie | Marie | Marie
    Paul | Paul | Paul""")
DID = table("""
    acheté | gekauft | bought
    vendu | verkauft | sold
    vu | gesehen | saw
    trouvé | gefunden | found
    perdu | verloren | lost
    compté | gezählt | counted
    dessiné | gezeichnet | drew""")
DOES = table("""
    dort | schläft | sleeps
    attend | wartet | waits
    mange | isst | eats
    joue | spielt | plays
    reste | bleibt | stays""")

ANYTHING = ANIMALS + PEOPLE + THINGS + BIG
GERMAN_ARTICLES = {"m": "der", "f": "die", "n": "das"}

# A weight, then the frame in each language.
FRAMES = table("""
    6 | {number} | {number} | {number}
    4 | {full_date} | {full_date} | {full_date}
    2 | l'an {year_words} | das Jahr {year_words} | the year {year_words}
    3 | {nth} | {nth} | {nth}
    3 | {sum} | {sum} | {sum}
    2 | Il est {clock}. | Es ist {clock}. | It is {clock}.
    3 | Le train s'arrête {at} {place}. | Der Zug hält {at} {place}. | The train stops {at} {place}.
    2 | Le musée ouvre {at}. | Das Museum öffnet {at}. | The museum opens {at}.
    2 | {who} part {at}. | {who} geht {at} weg. | {who} leaves {at}.
    4 | {thing} coûte {price}. | {thing} kostet {price}. | {thing} costs {price}.
    4 | Nous avons payé {price} pour {goods}. | Wir haben {price} für {goods} bezahlt. \
      | We paid {price} for {goods}.
    2 | {who} a {small} ans. | {who} ist {small} Jahre alt. | {who} is {small} years old.
    3 | {who} a vécu de {years}. | {who} lebte von {years}. | {who} lived from {years}.
    3 | {big} fait {high} mètres de haut. | {big} ist {high} Meter hoch. \
      | {big} is {high} meters high.
    3 | {big} est à {large} kilomètres. | {big} ist {large} Kilometer entfernt. \
      | {big} is {large} kilometers away.
    6 | {nth_living} {does} {place}. | {nth_living} {does} {place}. | {nth_living} {does} {place}.
    6 | Il y a {all} {place}. | Es gibt {all} {place}. | There are {all} {place}.
    8 | {when} il y avait {all} {place}. | {when} gab es {all} {place}. \
      | {when} there were {all} {place}.
    8 | {who} a {did} {goods} {when}. | {who} hat {when} {goods} {did}. \
      | {who} {did} {goods} {when}.
    4 | {who} a {did} {nth_goods}. | {who} hat {nth_goods_accusative} {did}. \
      | {who} {did} {nth_goods}.""")


# -- numbers --------------------------------------------------------------------------------------


@lru_cache(None)
def words(n: int, to: str = "cardinal") -> Phrase:
    """A number in words. to: "cardinal", "ordinal", "ordinal_num" ("3rd") or "year"."""
    from num2words import num2words

    fr, de, en = (num2words(n, lang=lang, to=to) for lang in ("fr", "de", "en"))
    if to != "cardinal":
        # French writes no s after vingt and cent in ordinals and years; num2words does.
        fr = re.sub("(vingt|cent)s(?=ième|$)", r"\1", fr)
    return fr, de, en.replace(",", "")


def digits(n: int) -> Phrase:
    """A number in digits, grouped as each language does."""
    from babel.numbers import format_decimal

    return tuple(plain(format_decimal(n, locale=locale)) for locale in LOCALES)


def plain(text: str) -> str:
    """Babel's no-break spaces as the space of a keyboard."""
    return text.replace("\u202f", " ").replace("\xa0", " ")


def feminine(number: str) -> str:
    """A French cardinal before a feminine noun.

    >>> feminine("vingt et un"), feminine("deux")
    ('vingt et une', 'deux')
    """
    return number + "e" if number.endswith("un") else number


def number(rng: random.Random) -> Phrase:
    """A number below 10,000, in words or in digits."""
    write = words if rng.random() < 0.6 else digits
    return write(rng.randrange(10_000))


def arithmetic(rng: random.Random) -> Phrase:
    """A sum of two numbers below 100."""
    a, b = rng.randrange(2, 100), rng.randrange(2, 100)
    first, second, total = words(a), words(b), words(a + b)
    return (
        f"{first[0]} plus {second[0]} font {total[0]}",
        f"{first[1]} plus {second[1]} ist {total[1]}",
        f"{first[2]} plus {second[2]} is {total[2]}",
    )


def price(rng: random.Random) -> Phrase:
    """Euros, with or without cents: in digits, or in words."""
    from babel.numbers import format_currency

    euros, cents = rng.randrange(2, 100), rng.randrange(5, 100, 5)
    kind = rng.random()
    if kind < 0.5:
        amount = euros + cents / 100
        return tuple(plain(format_currency(amount, "EUR", locale=locale)) for locale in LOCALES)
    fr, de, en = words(euros)
    if kind < 0.75:
        return f"{fr} euros", f"{de} Euro", f"{en} euros"
    fr2, de2, en2 = words(cents)
    return f"{fr} euros {fr2}", f"{de} Euro {de2}", f"{en} euros and {en2} cents"


# -- things ---------------------------------------------------------------------------------------


def definite(rng: random.Random, nouns: list[Phrase]) -> Phrase:
    """A noun with its article."""
    fr, de, en = rng.choice(nouns)
    fr, _, gender = fr.split()
    article = "la " if gender == "f" else "le "
    if fr[0] in "aeéhoœ":
        article = "l'"
    de, _, german_gender = de.split()
    return article + fr, f"{GERMAN_ARTICLES[german_gender]} {de}", f"the {en.split()[0]}"


def counted(rng: random.Random, nouns: list[Phrase], in_words: float = 1.0) -> Phrase:
    """Two or more things: to 99 in words, or to 999 in digits. in_words: the share in words."""
    fr, de, en = rng.choice(nouns)
    _, fr, gender = fr.split()
    if rng.random() < in_words:
        count = words(rng.randrange(2, 100))
    else:
        count = digits(rng.randrange(2, 1000))
    french_count = feminine(count[0]) if gender == "f" else count[0]
    return f"{french_count} {fr}", f"{count[1]} {de.split()[1]}", f"{count[2]} {en.split()[1]}"


def nth(rng: random.Random, nouns: list[Phrase]) -> Phrase:
    """An ordinal and its noun: (fr, de, en, German accusative)."""
    n = rng.randrange(1, 100)
    fr, de, en = rng.choice(nouns)
    fr, _, gender = fr.split()
    de, _, german_gender = de.split()
    ordinal = _ordinal_in_words if rng.random() < 0.6 else _ordinal_in_digits
    french, german, english = ordinal(n, gender)
    article = GERMAN_ARTICLES[german_gender]
    accusative = f"{article} {german} {de}"
    if german_gender == "m":
        ending = "" if german.endswith(".") else "n"
        accusative = f"den {german}{ending} {de}"
    return (
        f"{'la' if gender == 'f' else 'le'} {french} {fr}",
        f"{article} {german} {de}",
        f"the {english} {en.split()[0]}",
        accusative,
    )


def _ordinal_in_words(n: int, gender: str) -> Phrase:
    french, german, english = words(n, "ordinal")
    if n == 1 and gender == "f":
        french = "première"
    return french, german, english


def _ordinal_in_digits(n: int, gender: str) -> Phrase:
    ending = "e"
    if n == 1:
        ending = "re" if gender == "f" else "er"
    return f"{n}{ending}", f"{n}.", words(n, "ordinal_num")[2]


def ordinal(rng: random.Random) -> Phrase:
    """An ordinal with a noun of any kind."""
    return nth(rng, ANYTHING)[:3]


def ordinal_living(rng: random.Random) -> Phrase:
    """An ordinal with an animal or a person."""
    return nth(rng, ANIMALS + PEOPLE)[:3]


# -- time -----------------------------------------------------------------------------------------


def day(rng: random.Random) -> datetime.date:
    """A day in the 130 years from 1900 on."""
    return datetime.date(1900, 1, 1) + datetime.timedelta(rng.randrange(130 * 365))


def written(date: datetime.date, *patterns: str) -> Phrase:
    """A date by Babel's patterns, one for each language."""
    from babel.dates import format_date

    fr, de, en = (
        format_date(date, pattern, locale=locale)
        for pattern, locale in zip(patterns, LOCALES, strict=True)
    )
    if fr.startswith("1 "):
        fr = fr.replace("1 ", "1er ", 1)
    else:
        fr = fr.replace(" 1 ", " 1er ")
    return fr, de, en


def full_date(rng: random.Random) -> Phrase:
    """A date with its weekday."""
    return written(day(rng), "EEEE d MMMM y", "EEEE, d. MMMM y", "EEEE, MMMM d, y")


def year_in_words(rng: random.Random) -> Phrase:
    """The year of a day, in words."""
    return words(day(rng).year, "year")


def years(rng: random.Random) -> Phrase:
    """From a year to a later one."""
    first = rng.randrange(1600, 2000)
    last = first + rng.randrange(20, 95)
    return f"{first} à {last}", f"{first} bis {last}", f"{first} to {last}"


def when(rng: random.Random) -> Phrase:
    """On a date, in a year, in a month or on a weekday."""
    date, kind = day(rng), rng.random()
    if kind < 0.4:
        fr, de, en = written(date, "d MMMM y", "d. MMMM y", "MMMM d, y")
        return f"le {fr}", f"am {de}", f"on {en}"
    if kind < 0.6:
        return f"en {date.year}", f"im Jahr {date.year}", f"in {date.year}"
    if kind < 0.8:
        fr, de, en = written(date, "MMMM y", "MMMM y", "MMMM y")
        return f"en {fr}", f"im {de}", f"in {en}"
    fr, de, en = written(date, "EEEE", "EEEE", "EEEE")
    return fr, f"am {de}", f"on {en}"


def at(rng: random.Random) -> Phrase:
    """At a time of day: spoken, or in digits, on 24 hours there and on 12 in English."""
    if rng.random() < 0.5:
        fr, de, en = clock(rng)
    else:
        hour, minute = rng.randrange(24), rng.randrange(60)
        fr = f"{hour} h {minute:02}"
        de = f"{hour}:{minute:02} Uhr"
        en = f"{(hour - 1) % 12 + 1}:{minute:02} {'a.m.' if hour < 12 else 'p.m.'}"
    return f"à {fr}", f"um {de}", f"at {en}"


def clock(rng: random.Random) -> Phrase:
    """A spoken time, on twelve hours, in steps of five minutes."""
    hour, minutes = rng.randrange(12), 5 * rng.randrange(12)
    now, coming = words(hour or 12), words(hour + 1)
    if minutes == 0:
        return _on_the_hour(now)
    if minutes < 30:
        return _minutes_past(minutes, now, coming)
    if minutes == 30:
        return _half_past(now, coming)
    return _minutes_to(60 - minutes, coming)


def _on_the_hour(now: Phrase) -> Phrase:
    german = "ein" if now[1] == "eins" else now[1]
    return _hours(now), f"{german} Uhr", f"{now[2]} o'clock"


def _half_past(now: Phrase, coming: Phrase) -> Phrase:
    return f"{_hours(now)} et demie", f"halb {coming[1]}", f"half past {now[2]}"


def _minutes_past(minutes: int, now: Phrase, coming: Phrase) -> Phrase:
    if minutes == 15:
        return f"{_hours(now)} et quart", f"Viertel nach {now[1]}", f"a quarter past {now[2]}"
    fr, de, en = words(minutes)
    german = f"{de} nach {now[1]}"
    if minutes == 25:
        german = f"fünf vor halb {coming[1]}"
    return f"{_hours(now)} {fr}", german, f"{en} past {now[2]}"


def _minutes_to(minutes: int, coming: Phrase) -> Phrase:
    if minutes == 15:
        french = f"{_hours(coming)} moins le quart"
        return french, f"Viertel vor {coming[1]}", f"a quarter to {coming[2]}"
    fr, de, en = words(minutes)
    german = f"{de} vor {coming[1]}"
    if minutes == 25:
        german = f"fünf nach halb {coming[1]}"
    return f"{_hours(coming)} moins {fr}", german, f"{en} to {coming[2]}"


def _hours(hour: Phrase) -> str:
    """The hour as French says it: "une heure", "deux heures"."""
    return feminine(hour[0]) + (" heure" if hour[0] == "un" else " heures")


# -- slots ----------------------------------------------------------------------------------------


def one_of(phrases: list[Phrase]) -> Callable[[random.Random], Phrase]:
    """A slot that takes one of some phrases."""

    def draw(rng: random.Random) -> Phrase:
        return rng.choice(phrases)

    return draw


def between(low: int, high: int, write: Callable = digits) -> Callable[[random.Random], Phrase]:
    """A slot that takes a number in low..high-1, in digits or words."""

    def draw(rng: random.Random) -> Phrase:
        return write(rng.randrange(low, high))

    return draw


# In this order they are drawn.
SLOTS: dict[str, Callable[[random.Random], Phrase]] = {
    "number": number,
    "full_date": full_date,
    "year_words": year_in_words,
    "nth": ordinal,
    "sum": arithmetic,
    "clock": clock,
    "at": at,
    "when": when,
    "years": years,
    "price": price,
    "small": between(2, 100, words),
    "high": between(5, 100),
    "large": between(2, 1000),
    "place": one_of(PLACES),
    "who": one_of(WHO),
    "did": one_of(DID),
    "does": one_of(DOES),
    "thing": partial(definite, nouns=THINGS),
    "big": partial(definite, nouns=BIG),
    "goods": partial(counted, nouns=ANIMALS + THINGS),
    "all": partial(counted, nouns=ANYTHING, in_words=0.6),
    "nth_living": ordinal_living,
    "nth_goods": partial(nth, nouns=ANIMALS + THINGS),
}


# -- lines ----------------------------------------------------------------------------------------


def sentence(rng: random.Random, frame: Phrase) -> Phrase:
    """One frame, (fr, de, en), with its slots filled."""
    drawn = {name: draw(rng) for name, draw in SLOTS.items() if _has_slot(frame, name)}
    lines = []
    for language, text in enumerate(frame):
        values = {name: phrase[language] for name, phrase in drawn.items()}
        if "nth_goods" in drawn:
            values["nth_goods_accusative"] = drawn["nth_goods"][3]
        lines.append(_as_sentence(text.format(**values)))
    return tuple(lines)


def _has_slot(frame: Phrase, name: str) -> bool:
    return any("{" + name + "}" in text for text in frame)


def _as_sentence(line: str) -> str:
    """A line with a capital first and one full stop last, if it has one; others as they are.

    >>> _as_sentence("the train leaves at 5:00 p.m.."), _as_sentence("five")
    ('The train leaves at 5:00 p.m.', 'five')
    """
    if not line.endswith("."):
        return line
    return line[0].upper() + line[1:].replace("..", ".")


def pairs(n: int, seed: int = 0) -> Iterator[Record]:
    """Yield n records, text = "fr: ...\\nen: ...\\n" or "de: ...\\nen: ...\\n", no source twice.

    The split is by hash of the English answer: neither a test line's source nor its answer, from
    whichever language, is in train. Raises ValueError should one source ever get two answers.
    """
    rng = random.Random(seed)
    weights = [int(weight) for weight, *_ in FRAMES]
    answers: dict[str, str] = {}
    while len(answers) < n:
        i = len(answers)
        (frame,) = rng.choices(FRAMES, weights)
        *sources, answer = sentence(rng, frame[1:])
        which = rng.randrange(len(LANGUAGES))
        source = f"{LANGUAGES[which]}: {sources[which]}"
        if answers.setdefault(source, answer) != answer:
            raise ValueError(f"two answers for {source!r}: {answers[source]!r} and {answer!r}")
        if len(answers) > i:
            split = split_of_answer(answer)
            yield {"id": f"phrases/{i}", "split": split, "text": f"{source}\nen: {answer}\n"}


def split_of_answer(answer: str) -> str:
    """ "test" for one answer in 20, by its hash, else "train"."""
    first_byte = hashlib.sha256(answer.encode()).digest()[0]
    return "test" if first_byte < 256 / HELD_OUT else "train"


def generated(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """All records; there is nothing to fetch. Raises ValueError where a library is missing."""
    try:
        yield from pairs(LINES, seed)
    except ImportError as error:
        raise ValueError(
            f"phrases needs num2words and Babel ({error.name} is missing):"
            " pip install 'bltlab[data]'"
        ) from None


RECIPE = Recipe(generated, near="counted")
