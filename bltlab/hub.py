"""The hub of models and data sets: is it there, and the files of one of its repositories.

Its own client tries an unreachable hub again and again, for half a minute. So a connection is tried
first, for a moment, and what was downloaded before is used where there is none.
"""

import socket
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

SECONDS = 1.0  # to wait for a connection
PORTS = {"http": 80, "https": 443}


def is_id(name: str | Path) -> bool:
    """Could a name be that of a repository, "owner/name"?

    >>> is_id("facebook/blt-1b"), is_id("./blt-1b"), is_id("blt-1b"), is_id("C:/blt-1b")
    (True, False, False, False)
    """
    owner, slash, own_name = str(name).partition("/")
    is_path = owner.startswith((".", "~")) or owner.endswith(":") or "\\" in str(name)
    return bool(owner and slash and own_name) and "/" not in own_name and not is_path


def is_reachable(seconds: float = SECONDS) -> bool:
    """Does the hub, or the proxy on the way to it, take a connection within so many seconds?"""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    host, port = _first_stop(constants.ENDPOINT)
    connected: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), seconds).close()
            connected.append(True)
        except OSError:
            pass

    # A name server that does not answer keeps no time limit: so the waiting is done here.
    attempt = Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(seconds)
    return bool(connected)


def _first_stop(address: str) -> tuple[str, int]:
    """(host, port) of an address, or of the proxy that this machine asks for it."""
    wanted = urlsplit(address)
    proxies = getproxies()
    proxy = proxies.get(wanted.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(wanted.hostname):
        wanted = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return wanted.hostname, wanted.port or PORTS.get(wanted.scheme, 80)


def download(hub_id: str, patterns: list[str], local_files_only: bool = False, **of: Any) -> Path:
    """The folder of a repository's files, downloaded unless they are here.

    patterns: which files. of: revision, token and cache_dir, as the hub's client takes them.
    Raises FileNotFoundError, in one sentence, where it does not come.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    offline = local_files_only or not is_reachable()
    try:
        folder = snapshot_download(hub_id, allow_patterns=patterns, local_files_only=offline, **of)
    except GatedRepoError:
        raise FileNotFoundError(
            f"{hub_id} is gated: ask for access on its page, then log in with hf auth login, or"
            " give token="
        ) from None
    except Exception as error:  # unknown, or of another kind: one sentence for all
        raise FileNotFoundError(_why_not(hub_id, offline, local_files_only, error)) from None
    return Path(folder)


def _why_not(hub_id: str, offline: bool, asked: bool, error: Exception) -> str:
    if asked:
        return f"{hub_id} was not downloaded before, and local_files_only is set"
    if offline:
        return f"{hub_id} is no folder here, and the hub cannot be reached"
    return f"{hub_id} is no folder here, and the hub does not give it ({type(error).__name__})"
