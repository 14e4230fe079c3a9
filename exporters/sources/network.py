"""A guard that keeps this process off the network while code from elsewhere runs."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

from models.errors import WorkError

_LOCAL_FAMILIES = frozenset(getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK") if hasattr(socket, name))


class NetworkBlockedError(WorkError, ConnectionError):
    """Something tried to reach the network while it was blocked."""


@contextlib.contextmanager
def network_blocked(whose: str) -> Iterator[None]:
    """For the time of the block, this process's Python sockets neither connect nor resolve names.

    It stops what downloads by accident or by design of a library; it is no jail for hostile code, which could start
    another program.

    Args:
        whose: who runs inside, for the message.

    Raises:
        NetworkBlockedError: from the call that tried to connect.
    """

    def refuse(address: object) -> NoReturn:
        raise NetworkBlockedError(
            f"{whose} tried to reach {address} on the network, which is blocked: set DINOV3_BLOCK_NET=0 to allow it, "
            "or bring the files"
        )

    def connect(self: socket.socket, address: Any, /) -> Any:
        if self.family in _LOCAL_FAMILIES:
            return original_connect(self, address)
        return refuse(address)

    def connect_ex(self: socket.socket, address: Any, /) -> Any:
        if self.family in _LOCAL_FAMILIES:
            return original_connect_ex(self, address)
        return refuse(address)

    def getaddrinfo(host: Any, *_: Any, **__: Any) -> Any:
        return refuse(host)

    original_connect, original_connect_ex = socket.socket.connect, socket.socket.connect_ex
    original_resolve = socket.getaddrinfo
    own = {name: vars(socket.socket)[name] for name in ("connect", "connect_ex") if name in vars(socket.socket)}
    socket.socket.connect = connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = connect_ex  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        # Methods of the C base class, unless a guard outside this one stands there.
        for name in ("connect", "connect_ex"):
            if name in own:
                setattr(socket.socket, name, own[name])
            else:
                delattr(socket.socket, name)
        socket.getaddrinfo = original_resolve
