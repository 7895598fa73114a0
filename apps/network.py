"""Where the page is found: a free port, its address, and a word about who can reach it."""

import os
import socket

LOCAL = "127.0.0.1", "localhost", "::1"
ANY = "0.0.0.0", "::"  # every address of this machine


def keep_local(host: str) -> None:
    """Ask no proxy for this machine: what starts the page talks to it, and would be sent away."""
    for name in ("no_proxy", "NO_PROXY"):
        known = [part for part in os.environ.get(name, "").split(",") if part]
        os.environ[name] = ",".join(dict.fromkeys([*known, *LOCAL, host]))


def free_port(port: int, everywhere: bool = False) -> int:
    """The port itself, or for 0 a free one: on this machine's own address, or on all that it has.

    Raises OSError where it cannot be had.
    """
    if not 0 <= port <= 65535:
        raise OSError(f"port must be 0 to 65535, got {port}")
    if port:
        return port
    with socket.socket() as probe:
        probe.bind(("" if everywhere else LOCAL[0], 0))
        return probe.getsockname()[1]


def own_address() -> str:
    """The address of this machine on its network. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation; UDP only looks for a way
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def invitation(host: str, port: int) -> str:
    """What the terminal says once the page is there.

    >>> print(invitation("127.0.0.1", 7860))
    Open http://127.0.0.1:7860 in a browser. Only this machine can reach it; Ctrl-C ends it.
    """
    if host in LOCAL:
        shown = f"[{host}]" if ":" in host else host
        return (
            f"Open http://{shown}:{port} in a browser."
            " Only this machine can reach it; Ctrl-C ends it."
        )
    address = own_address() if host in ANY else host
    return (
        f"Share http://{address}:{port}: whoever reaches this machine over its network can open it"
        " and decode, without a password. What they write stays on this machine; a firewall may be"
        " in the way. Ctrl-C ends it."
    )
