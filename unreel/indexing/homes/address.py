"""The address of an index in a database, KIND:PLACE[#TABLE], e.g. postgres:postgresql://me@host/db#footage.

Nothing here needs the library of a database. Passwords and keys stay in the environment (CREDENTIALS): an address that
holds one is refused, since commands and addresses are kept in histories, logs and records.
"""

import importlib
import os
import re
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

from unreel.errors import InputError

DEFAULT_TABLE = "unreel"
TABLE_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,39}")
TABLE_PATTERN = re.compile(r"(.*)#([A-Za-z_][A-Za-z0-9_]{0,39})", re.DOTALL)
ADDRESS_PATTERN = re.compile(r"([A-Za-z][A-Za-z0-9]*):(.+)", re.DOTALL)
USER_PATTERN = re.compile(r"(\w+://)([^/@\s]*(?::[^@\s?]*)?)@")
SECRET_PATTERN = re.compile(r"(?i)(password|passwd|api_?key|token|sig|secret\w*)\s*=\s*[^\s&]+")
CREDENTIALS = {
    "lancedb": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_KEY or "
    "LANCEDB_API_KEY",
    "qdrant": "QDRANT_API_KEY",
    "postgres": "PGPASSWORD, or a file that PGPASSFILE names",
}
SECRET_VARIABLES = ["PGPASSWORD", "QDRANT_API_KEY", "LANCEDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
SECRET_VARIABLES += ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"]
MASK = "***"


class HomeKind(NamedTuple):
    """The class of a kind of home, "FILE:NAME" of this folder; the module that it needs, and the package to install."""

    home_class: str
    module: str
    package: str
    place: str


HOME_KINDS = {
    "lancedb": HomeKind("lance_home:LanceHome", "lancedb", "lancedb", "PATH"),
    "qdrant": HomeKind("qdrant_home:QdrantHome", "qdrant_client", "qdrant-client", "URL"),
    "postgres": HomeKind("postgres_home:PostgresHome", "psycopg", "psycopg[binary]", "URL"),
}
OTHER_NAMES = {"pgvector": "postgres", "postgresql": "postgres", "lance": "lancedb"}


@dataclass(frozen=True)
class HomeAddress:
    """The kind of a database, its place as its library takes it, and the name of the table of the rows."""

    kind: str
    place: str
    table: str = DEFAULT_TABLE

    def __post_init__(self) -> None:
        """Raises InputError for a name of a table that #TABLE could not name, or that a database would shorten."""
        if not TABLE_NAME.fullmatch(self.table):
            raise InputError(f"'{self.table}' is no name of a table here: up to 40 letters, digits and underscores")

    def __str__(self) -> str:
        """The address as it may be shown: without who connects, and without what an address may hold in its query."""
        table = "" if self.table == DEFAULT_TABLE else f"#{self.table}"
        return f"{self.kind}:{hide_secrets(self.place)}{table}"

    @property
    def identity(self) -> tuple[str, str, str]:
        """The same for all ways to write one table: a server with a last slash or without, a folder by any path.

        >>> HomeAddress("qdrant", "http://H:6333/").identity == HomeAddress("qdrant", "http://h:6333").identity
        True
        """
        scheme, mark, rest = self.place.rstrip("/").partition("://")
        host, slash, path = rest.partition("/")
        is_folder = not mark and self.kind != "postgres"
        place = os.path.realpath(self.place) if is_folder else f"{scheme}{mark}{host.lower()}{slash}{path}"
        return self.kind, place, self.table

    @property
    def name(self) -> str:
        """A short name, for a title or a folder beside it."""
        return f"{self.kind}-{self.table}"


def parse_address(text: str) -> HomeAddress | None:
    """The address of a home; None for the path of a folder. Raises InputError for an address that holds a password."""
    match = ADDRESS_PATTERN.fullmatch(text)
    if match is None or os.path.exists(text):
        return None
    if get_kind(match[1]) not in HOME_KINDS:
        _refuse_unknown(text, match[1].lower(), match[2])
        return None
    return make_address(match[1], match[2])


def get_kind(name: str) -> str:
    """The kind of a home by any of its names; other names as they are."""
    return OTHER_NAMES.get(name.lower(), name.lower())


def make_address(name: str, place: str) -> HomeAddress:
    """The address of a kind of home and its place, with #TABLE or without. Raises InputError for a password in it."""
    kind, table = get_kind(name), DEFAULT_TABLE
    if with_table := TABLE_PATTERN.fullmatch(place):
        place, table = with_table[1], with_table[2]
    if kind == "postgres" and place.startswith("//"):
        place = f"postgresql:{place}"
    require_no_password(kind, place)
    return HomeAddress(kind, place, table)


def _refuse_unknown(text: str, name: str, place: str) -> None:
    """Raise InputError for a kind that is nearly one of ours, or the address of a server; else it is a path."""
    import difflib

    near = difflib.get_close_matches(name, [*HOME_KINDS, *OTHER_NAMES], n=1, cutoff=0.7)
    if near or place.startswith("//"):
        kinds = ", ".join(f"{kind}:{known.place}" for kind, known in HOME_KINDS.items())
        hint = f"did you mean {near[0]}:{hide_secrets(place)}? " if near else ""
        raise InputError(f"{hide_secrets(text)}: no kind of index has this name", f"{hint}Known: a folder, {kinds}")


def require_no_password(kind: str, place: str) -> None:
    """Raise InputError for a place that holds a password or a key, which the text does not repeat."""
    user = USER_PATTERN.search(place)
    has_password = bool(user) and bool(user[2].partition(":")[2]) if user else False
    if has_password or SECRET_PATTERN.search(place) or (kind != "postgres" and user):
        raise InputError(
            f"{kind}: the address holds a password or a key, which would be kept in histories and logs",
            f"leave it out; it is read from the environment: {CREDENTIALS[kind]}",
        )


def hide_secrets(text: str) -> str:
    """A text without who connects, without passwords in an address, and without the secrets of the environment.

    >>> hide_secrets("postgresql://me:pw@host/db?password=x: refused")
    'postgresql://***@host/db?password=***: refused'
    """
    text = SECRET_PATTERN.sub(lambda match: f"{match[1]}={MASK}", USER_PATTERN.sub(rf"\1{MASK}@", text))
    for name in SECRET_VARIABLES:
        secret = os.environ.get(name, "")
        if len(secret) > 3:
            text = text.replace(secret, MASK)
    return text


def import_optional(module: str, package: str) -> Any:
    """Import a library that only a home needs. Raises InputError with the command to install it."""
    # Processes that are forked while a database is open decode videos; they ask it nothing.
    warnings.filterwarnings("ignore", message="lancedb fork support")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"this needs {package}, which is not installed ({error}): pip install '{package}'") from error
