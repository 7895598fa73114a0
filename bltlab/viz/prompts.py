"""Prompts that suit the models that ship, known by a word in their names."""

PROMPTS = {  # the last are for all others
    "phrases": (
        "de: Der 70. Hund schläft im Garten.\nen:",
        "fr: Le train s'arrête à 22 h 53 dans le jardin.\nen:",
        "de: dreitausendsechshundertzwölf\nen:",
    ),
    "functions": (
        'def f(s):\n    """split it at each \'r\', then count the words"""\n    return',
        'def f(ws):\n    """reverse each word, then keep the words with \'n\'"""\n    return',
        'def f(xs):\n    """keep those above 5, then sort them from the largest"""\n    return',
    ),
    "": (
        "The king sent his servants to ",
        "My fellow Americans, ",
        "In the beginning ",
        "Größe, 大きさ, размер: ",
    ),
}


def kind_of(name: str) -> str:
    """The key in `PROMPTS` for a model.

    >>> kind_of("blt-d-phrases-8"), kind_of("blt-nano")
    ('phrases', '')
    """
    return next(word for word in PROMPTS if word in name)
