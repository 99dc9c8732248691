"""Which addresses this installation may call when a tenant names them: public ones, and private ones that the operator lists. Pure.

The command service refuses what can be seen in the text of an address; the relay checks every resolved address when it connects.
Sources: RFC 6890 and IANA's special-purpose registries (by `ipaddress`), WHATWG URL (hosts that end in a number are IPv4), Azure's wire
server 168.63.129.16, which is a public address that answers credentials.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import idna

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# public by registry, yet a door into a cloud's inside
_INSIDE = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("192.88.99.0/24"))
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# 6to4 and Teredo reach an IPv4 host through somebody else's relay; 3fff::/20 is for documents (RFC 9637), which Python 3.11 does not know
_NOBODYS = tuple(ipaddress.ip_network(text) for text in ("2002::/16", "2001::/32", "3fff::/20"))
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"https": 443, "http": 80}


class TargetError(ValueError):
    """An address that is not called; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Target:
    """The place behind an address. host: lower case, IDNA-encoded, an IPv6 literal without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def literal(self) -> Address | None:
        return literal(self.host)

    @property
    def place(self) -> str:
        """`host:port`, as logs and evidence show it: paths and queries may hold secrets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Allowed:
    network: Network | None
    host: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class PrivateTargets:
    """What the setting BARECOUNT_WEBHOOK_PRIVATE_TARGETS allows beside public addresses; such targets may use http too."""

    rows: tuple[_Allowed, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """`host[:port]`, `address[:port]` or `network[:port]`, separated by commas; IPv6 with a port in brackets: `[fd00::/8]:443`.

        Raises: ValueError that names the entry.
        """
        return cls(tuple(_row(entry.strip()) for entry in text.split(",") if entry.strip()))

    def allow_host(self, host: str, port: int) -> bool:
        """Whether the name itself, or the literal address, is listed."""
        address = literal(host)
        return any(row.host == host and row.port in (None, port) for row in self.rows) or (
            address is not None and self._allow_listed(address, port)
        )

    def why_not(self, host: str, address: Address, port: int) -> str | None:
        """Why a connection to this resolved address of `host` is refused; None when it is allowed."""
        if is_public(address) or self._allow_listed(address, port):
            return None
        if any(row.host == host and row.port in (None, port) for row in self.rows):
            return None
        return f"{host} leads to {address}, which is no public address; an operator may allow it by BARECOUNT_WEBHOOK_PRIVATE_TARGETS"

    def _allow_listed(self, address: Address, port: int) -> bool:
        plain = _plain(address)
        return any(
            row.network is not None and plain.version == row.network.version and plain in row.network and row.port in (None, port)
            for row in self.rows
        )

    def check(self, url: str) -> Target:
        """The target of an address, judged by its text alone.

        Raises: TargetError.
        """
        target = target_of(url)
        listed = self.allow_host(target.host, target.port)
        if target.scheme == "http" and not listed:
            raise TargetError(
                f"only https is delivered to; http needs {target.place} in the installation's BARECOUNT_WEBHOOK_PRIVATE_TARGETS"
            )
        address = target.literal
        if address is not None and not listed and (why := self.why_not(target.host, address, target.port)) is not None:
            raise TargetError(why)
        if target.host == "localhost" or target.host.endswith(".localhost"):
            if not listed:
                raise TargetError(f"{target.host} is this machine itself, which is no public address")
        elif address is None and "." not in target.host and not listed:
            raise TargetError(f"{target.host} is no public host name: it has no domain")
        return target


def target_of(url: str) -> Target:
    """Takes an address apart. Raises: TargetError for anything that two parsers could read in two ways."""
    if any(ord(character) <= 0x20 or ord(character) == 0x7F or character == "\\" for character in url):
        raise TargetError("the address holds a space, a control character or a backslash")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetError(f"the address cannot be read: {error}") from error
    if parts.scheme not in _PORTS:
        raise TargetError(f"the scheme is {parts.scheme or 'missing'!r}; it must be https")
    if "@" in parts.netloc:
        raise TargetError("the address holds a user; credentials do not belong into it")
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):
        raise TargetError("the address holds brackets around what is no IPv6 address")
    if "#" in url:
        raise TargetError("the address holds a fragment, which no receiver sees")
    if port == 0:
        raise TargetError("port 0 cannot be connected to")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise TargetError("the path must be percent-encoded ASCII")
    return Target(parts.scheme, _host(parts.hostname or ""), port or _PORTS[parts.scheme], path)


def literal(host: str) -> Address | None:
    """The address that a host is, when it is one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether anybody on the internet may be there: global unicast, and through no tunnel or translation to something else."""
    plain = _plain(address)
    if isinstance(plain, ipaddress.IPv4Address):
        return plain.is_global and not plain.is_multicast and not plain.is_reserved and not any(plain in net for net in _INSIDE)
    if plain in _NAT64:
        return is_public(ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF))
    return plain in _GLOBAL_UNICAST and plain.is_global and not any(plain in net for net in _NOBODYS)


def all_refused(targets: PrivateTargets, host: str, addresses: Sequence[Address], port: int) -> str | None:
    """Why a name is not connected to: one address that is not allowed condemns the name, because the next look-up may give it alone."""
    return next((why for address in addresses if (why := targets.why_not(host, address, port)) is not None), None)


def _plain(address: Address) -> Address:
    """Without scope, and IPv4 that is only written as IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def _host(host: str) -> str:
    if not host:
        raise TargetError("the address names no host")
    if ":" in host:
        if "%" in host or literal(host) is None:
            raise TargetError(f"[{host}] is no IPv6 address")
        return str(literal(host))
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError as error:
        raise TargetError(f"{host} is no valid international host name: {error}") from error
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if literal(name) is not None:
        return name
    if _NUMBER.fullmatch(labels[-1]):
        # 2130706433, 0x7f.1, 0177.0.0.1, 127.1: every one of them is 127.0.0.1 to some resolver
        raise TargetError(f"{host} is a number in another form than a dotted IPv4 address")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetError(f"{host} is no valid host name")
    return name


def _row(entry: str) -> _Allowed:
    found = re.fullmatch(r"\[(?P<v6>[^\]]+)\](?::(?P<port6>\d+))?|(?P<rest>[^:\[\]]+)(?::(?P<port>\d+))?|(?P<bare>[0-9a-fA-F:./]+)", entry)
    if found is None:
        raise ValueError(f"BARECOUNT_WEBHOOK_PRIVATE_TARGETS: {entry!r} is neither host[:port] nor network[:port]")
    name = found["v6"] or found["rest"] or found["bare"]
    digits = found["port6"] or found["port"]
    port = int(digits) if digits else None
    try:
        return _Allowed(ipaddress.ip_network(name, strict=False), None, port)
    except ValueError:
        if "/" in name or ":" in name:
            raise ValueError(f"BARECOUNT_WEBHOOK_PRIVATE_TARGETS: {name!r} is no network") from None
    try:
        return _Allowed(None, _host(name), port)
    except TargetError as error:
        raise ValueError(f"BARECOUNT_WEBHOOK_PRIVATE_TARGETS: {error}") from error
