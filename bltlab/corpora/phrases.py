"""A translation task that a tiny model can master: French and German to English, every answer exact and unique.

A line is a frame, its slots filled with numbers, dates, ordinals, times, prices, things and places. num2words spells the
numbers and Babel writes dates, prices and grouped digits; frames and words are ours. Every piece is one tuple (fr, de, en).
"""

import datetime
import hashlib
import random
import re
from functools import lru_cache

LANGUAGES = ("fr", "de")  # the sources; English is the answer
HELD_OUT = 20  # one answer in 20 is a test answer, in both languages


def table(text):
    """Lines "fr | de | en" as tuples."""
    return [tuple(part.strip() for part in line.split("|")) for line in text.strip().splitlines()]


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
    4 | Nous avons payé {price} pour {goods}. | Wir haben {price} für {goods} bezahlt. | We paid {price} for {goods}.
    2 | {who} a {small} ans. | {who} ist {small} Jahre alt. | {who} is {small} years old.
    3 | {who} a vécu de {years}. | {who} lebte von {years}. | {who} lived from {years}.
    3 | {big} fait {high} mètres de haut. | {big} ist {high} Meter hoch. | {big} is {high} meters high.
    3 | {big} est à {large} kilomètres. | {big} ist {large} Kilometer entfernt. | {big} is {large} kilometers away.
    6 | {nth_living} {does} {place}. | {nth_living} {does} {place}. | {nth_living} {does} {place}.
    6 | Il y a {all} {place}. | Es gibt {all} {place}. | There are {all} {place}.
    8 | {when} il y avait {all} {place}. | {when} gab es {all} {place}. | {when} there were {all} {place}.
    8 | {who} a {did} {goods} {when}. | {who} hat {when} {goods} {did}. | {who} {did} {goods} {when}.
    4 | {who} a {did} {nth_goods}. | {who} hat {nth_goods_accusative} {did}. | {who} {did} {nth_goods}.""")


# -- numbers -------------------------------------------------------------------------------------------------------------


@lru_cache(None)
def words(n, to="cardinal"):
    """A cardinal, ordinal or year in words. In the last two French writes no s after vingt and cent; num2words does."""
    from num2words import num2words

    fr, de, en = (num2words(n, lang=lang, to=to) for lang in ("fr", "de", "en"))
    fr = fr if to == "cardinal" else re.sub("(vingt|cent)s(?=ième|$)", r"\1", fr)
    return fr, de, en.replace(",", "")


def digits(n):
    from babel.numbers import format_decimal

    return tuple(plain(format_decimal(n, locale=locale)) for locale in ("fr", "de", "en_US"))


def plain(text):
    """Babel's no-break spaces as the space of a keyboard."""
    return text.replace("\u202f", " ").replace("\xa0", " ")


def feminine(number):
    """A French cardinal before a feminine noun: vingt et une."""
    return number + "e" if number.endswith("un") else number


def counted(rng, nouns, in_words=1.0):
    """Two or more things: to 99 in words, or to 999 in digits."""
    fr, de, en = rng.choice(nouns)
    _, fr, gender = fr.split()
    a, b, c = (
        words(rng.randrange(2, 100)) if rng.random() < in_words else digits(rng.randrange(2, 1000))
    )
    return (
        f"{feminine(a) if gender == 'f' else a} {fr}",
        f"{b} {de.split()[1]}",
        f"{c} {en.split()[1]}",
    )


def nth(rng, nouns):
    """An ordinal and its noun: (fr, de, en, German accusative)."""
    n, (fr, de, en) = rng.randrange(1, 100), rng.choice(nouns)
    (fr, _, gender), (de, _, de_gender), en = fr.split(), de.split(), en.split()[0]
    if rng.random() < 0.6:
        a, b, c = words(n, "ordinal")
        a, accusative = (
            ("première" if n == 1 and gender == "f" else a),
            b + "n" * (de_gender == "m"),
        )
    else:
        a, b, c = (
            f"{n}{'e' if n > 1 else 're' if gender == 'f' else 'er'}",
            f"{n}.",
            words(n, "ordinal_num")[2],
        )
        accusative = b
    article = {"m": "der", "f": "die", "n": "das"}[de_gender]
    return (
        f"{'la' if gender == 'f' else 'le'} {a} {fr}",
        f"{article} {b} {de}",
        f"the {c} {en}",
        f"{'den' if de_gender == 'm' else article} {accusative} {de}",
    )


def definite(rng, nouns):
    fr, de, en = (part.split() for part in rng.choice(nouns))
    article = "l'" if fr[0][0] in "aeéhoœ" else "la " if fr[2] == "f" else "le "
    return (
        article + fr[0],
        f"{ {'m': 'der', 'f': 'die', 'n': 'das'}[de[2]] } {de[0]}",
        f"the {en[0]}",
    )


def arithmetic(rng):
    a, b = rng.randrange(2, 100), rng.randrange(2, 100)
    (fr, de, en), (fr2, de2, en2), (fr3, de3, en3) = (words(n) for n in (a, b, a + b))
    return f"{fr} plus {fr2} font {fr3}", f"{de} plus {de2} ist {de3}", f"{en} plus {en2} is {en3}"


def price(rng):
    from babel.numbers import format_currency

    euros, cents = rng.randrange(2, 100), rng.randrange(5, 100, 5)
    kind = rng.random()
    if kind < 0.5:
        return tuple(
            plain(format_currency(euros + cents / 100, "EUR", locale=locale))
            for locale in ("fr", "de", "en_US")
        )
    (fr, de, en), (fr2, de2, en2) = words(euros), words(cents)
    if kind < 0.75:
        return f"{fr} euros", f"{de} Euro", f"{en} euros"
    return f"{fr} euros {fr2}", f"{de} Euro {de2}", f"{en} euros and {en2} cents"


# -- time ----------------------------------------------------------------------------------------------------------------


def day(rng):
    return datetime.date(1900, 1, 1) + datetime.timedelta(rng.randrange(130 * 365))


def written(date, *patterns):
    from babel.dates import format_date

    fr, de, en = (
        format_date(date, pattern, locale=locale)
        for pattern, locale in zip(patterns, ("fr", "de", "en_US"))
    )
    return (
        fr.replace("1 ", "1er ", 1) if fr.startswith("1 ") else fr.replace(" 1 ", " 1er "),
        de,
        en,
    )


def full_date(rng):
    return written(day(rng), "EEEE d MMMM y", "EEEE, d. MMMM y", "EEEE, MMMM d, y")


def clock(rng):
    """Spoken, on twelve hours, in steps of five minutes."""
    hour, five = rng.randrange(12), rng.randrange(12)
    (fr, de, en), (fr2, de2, en2) = words(hour or 12), words(hour + 1)
    hours, hours2 = (feminine(x) + (" heure" if x == "un" else " heures") for x in (fr, fr2))
    near, minutes = min(five, 12 - five) * 5, words(min(five, 12 - five) * 5)
    if five == 0:
        return hours, f"{'ein' if de == 'eins' else de} Uhr", f"{en} o'clock"
    if five == 6:
        return f"{hours} et demie", f"halb {de2}", f"half past {en}"
    past = five < 6
    if near == 15:
        return (
            (f"{hours} et quart", f"Viertel nach {de}", f"a quarter past {en}")
            if past
            else (f"{hours2} moins le quart", f"Viertel vor {de2}", f"a quarter to {en2}")
        )
    german = (
        f"fünf {'vor' if past else 'nach'} halb {de2}"
        if near == 25
        else f"{minutes[1]} nach {de}"
        if past
        else f"{minutes[1]} vor {de2}"
    )
    return (
        (f"{hours} {minutes[0]}", german, f"{minutes[2]} past {en}")
        if past
        else (f"{hours2} moins {minutes[0]}", german, f"{minutes[2]} to {en2}")
    )


def at(rng):
    """A time of day: spoken, or in digits, 24 hours there and 12 in English."""
    if rng.random() < 0.5:
        fr, de, en = clock(rng)
    else:
        hour, minute = rng.randrange(24), rng.randrange(60)
        fr, de = f"{hour} h {minute:02}", f"{hour}:{minute:02} Uhr"
        en = f"{(hour - 1) % 12 + 1}:{minute:02} {'a.m.' if hour < 12 else 'p.m.'}"
    return f"à {fr}", f"um {de}", f"at {en}"


def when(rng):
    """A date, a year, a month or a weekday."""
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


def years(rng):
    a = rng.randrange(1600, 2000)
    b = a + rng.randrange(20, 95)
    return f"{a} à {b}", f"{a} bis {b}", f"{a} to {b}"


def number(rng):
    return (words if rng.random() < 0.6 else digits)(rng.randrange(10_000))


def ordinal(rng):
    fr, de, en, _ = nth(rng, ANIMALS + PEOPLE + THINGS + BIG)
    return fr, de, en


SLOTS = {
    "number": number,
    "full_date": full_date,
    "year_words": lambda rng: words(day(rng).year, "year"),
    "nth": ordinal,
    "sum": arithmetic,
    "clock": clock,
    "at": at,
    "when": when,
    "years": years,
    "price": price,
    "small": lambda rng: words(rng.randrange(2, 100)),
    "high": lambda rng: digits(rng.randrange(5, 100)),
    "large": lambda rng: digits(rng.randrange(2, 1000)),
    "place": lambda rng: rng.choice(PLACES),
    "who": lambda rng: rng.choice(WHO),
    "did": lambda rng: rng.choice(DID),
    "does": lambda rng: rng.choice(DOES),
    "thing": lambda rng: definite(rng, THINGS),
    "big": lambda rng: definite(rng, BIG),
    "goods": lambda rng: counted(rng, ANIMALS + THINGS),
    "all": lambda rng: counted(rng, ANIMALS + PEOPLE + THINGS + BIG, 0.6),
    "nth_living": lambda rng: nth(rng, ANIMALS + PEOPLE)[:3],
    "nth_goods": lambda rng: nth(rng, ANIMALS + THINGS),
}


# -- lines ---------------------------------------------------------------------------------------------------------------


def sentence(rng, frame):
    """One frame with its slots filled: (fr, de, en)."""
    filled = {
        name: slot(rng)
        for name, slot in SLOTS.items()
        if any("{" + name + "}" in text for text in frame)
    }
    values = [{name: piece[i] for name, piece in filled.items()} for i in range(3)]
    if "nth_goods" in filled:
        values[1]["nth_goods_accusative"] = filled["nth_goods"][3]
    lines = (text.format(**v) for text, v in zip(frame, values))
    return tuple(
        line[0].upper() + line[1:].replace("..", ".") if line.endswith(".") else line
        for line in lines
    )


def pairs(n, seed=0):
    """Yield n records {"id", "split", "text"}, text = "fr: ...\\nen: ...\\n" or "de: ...\\nen: ...\\n", no source twice.

    The split is by hash of the English answer: neither a test line's source nor its answer, from whichever language, is
    in train. Raises ValueError should one source ever get two answers.
    """
    rng, answers = random.Random(seed), {}
    weights = [int(frame[0]) for frame in FRAMES]
    while len(answers) < n:
        i = len(answers)
        (frame,) = rng.choices(FRAMES, weights)
        *sources, answer = sentence(rng, frame[1:])
        which = rng.randrange(len(LANGUAGES))
        source = f"{LANGUAGES[which]}: {sources[which]}"
        if answers.setdefault(source, answer) != answer:
            raise ValueError(f"two answers for {source!r}: {answers[source]!r} and {answer!r}")
        if len(answers) > i:
            split = (
                "test" if hashlib.sha256(answer.encode()).digest()[0] < 256 / HELD_OUT else "train"
            )
            yield {"id": f"phrases/{i}", "split": split, "text": f"{source}\nen: {answer}\n"}
