"""Which headers pass, and who is calling. Pure functions; the rules are RFC 9110 §7.6 and RFC 7239.

Forwarding headers and the login header are only believed from `trusted_proxies`. Names are
compared as upstreams built on CGI or WSGI see them, where `Remote_User` is `Remote-User`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from proxy.settings import UNIX_PEER, ServerSettings

Header = tuple[bytes, bytes]

#: End at each hop. Trailers are not forwarded, so neither is their announcement.
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

#: Say who is calling and by which address; only a trusted proxy knows. Navidrome (and others built
#: on chi) believes True-Client-IP above all.
FORWARDING: Final = frozenset(
    (
        b"forwarded",
        b"true-client-ip",
        b"x-client-ip",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-forwarded-user",
        b"x-real-ip",
    )
)

#: What `Connection` may not take away, whoever asks: the message would mean something else.
_KEPT: Final = frozenset((b"host", b"content-length", b"content-type", b"content-encoding"))

#: Any of these on a call from this very machine means that it came from elsewhere.
_TRACES_OF_A_PROXY: Final = FORWARDING | {b"via", b"cf-connecting-ip", b"cf-ray", b"cdn-loop"}

#: A name has at most 253 characters (RFC 1035), and a port.
_LONGEST_HOST: Final = 260

_LOOPBACK_NAMES: Final = frozenset((b"localhost", b"127.0.0.1", b"[::1]"))


def request_headers(
    raw: Iterable[Header], scope: Mapping[str, Any], settings: ServerSettings
) -> list[Header]:
    """The headers to send upstream, in the client's order, with the forwarding ones at the end.

    Args:
        raw: the client's headers, names in lower case (as ASGI has them).
        scope: the ASGI scope; `client` and `scheme` are read.
        settings: `trusted_proxies` and `user_header` are read.

    Returns:
        Without hop-by-hop headers and those that `Connection` names; `user_header` and the
        forwarding headers only as far as the peer is trusted.
    """
    client = scope.get("client")
    peer = client[0] if client else ""
    trusted = is_trusted(peer, settings.trusted_proxies)
    user_header = _comparable(settings.user_header.encode("ascii"))
    kept: list[Header] = []
    told: dict[bytes, list[bytes]] = {}
    named: set[bytes] | None = None
    host = b""
    for header in raw:
        name, value = header
        if name in HOP_BY_HOP:
            if name == b"connection":
                named = _options(value) | (named or set())
            continue
        plain = name.replace(b"_", b"-") if b"_" in name else name
        if plain in FORWARDING:
            if trusted:
                told.setdefault(plain, []).append(value)
            continue
        if plain == user_header and not trusted:
            continue
        if name == b"host":
            host = value
        kept.append(header)
    if named and (named := named - _KEPT):
        kept = [header for header in kept if header[0] not in named]
    scheme = scope.get("scheme", "http").encode("ascii")
    if not told:  # almost always
        # Kept for the next call of the same player; but not whatever a stranger calls us.
        make = _first_hop if len(host) <= _LONGEST_HOST else _first_hop.__wrapped__
        kept.extend(make(peer, host, scheme))
    else:
        kept.extend(_next_hop(peer, host, scheme, told, settings.trusted_proxies))
    return kept


def response_headers(raw: Iterable[Header]) -> list[Header]:
    """The upstream's headers as the client gets them: same order and case, hop-by-hop ones gone."""
    kept: list[Header] = []
    named: set[bytes] | None = None
    for header in raw:
        name = header[0].lower()
        if name in HOP_BY_HOP:
            if name == b"connection":
                named = _options(header[1]) | (named or set())
            continue
        kept.append(header)
    if named and (named := named - _KEPT):
        kept = [header for header in kept if header[0].lower() not in named]
    return kept


def is_trusted(address: str, trusted_proxies: tuple[str, ...]) -> bool:
    """Whether forwarding headers of this peer are believed; "" is a peer on the Unix socket."""
    return bool(trusted_proxies) and _is_within(address, trusted_proxies)


def is_insider(scope: Mapping[str, Any], settings: ServerSettings) -> bool:
    """Whether Segue's own details may be shown: to this very machine and to trusted proxies.

    A call that a proxy made for someone is judged by that someone. A call from this machine
    without a trace of a proxy still must ask for a loopback name: a tunnel or a browser that was
    lured here (DNS rebinding) asks for the public one.
    """
    client = scope.get("client")
    peer = client[0] if client else ""
    trusted_proxies = settings.trusted_proxies
    headers = [(name.replace(b"_", b"-"), value) for name, value in scope["headers"]]
    proxied = any(name in _TRACES_OF_A_PROXY for name, _ in headers)
    if is_trusted(peer, trusted_proxies):
        if not proxied:
            return True
        address = _caller(peer, _chain(_collect(headers)), trusted_proxies)
        return is_trusted(address, trusted_proxies) or _is_loopback(address)
    if proxied or not (_is_loopback(peer) or (not client and settings.uds)):
        return False
    hosts = [value for name, value in headers if name == b"host"]
    return all(_host_name(host) in _LOOPBACK_NAMES for host in hosts)


def _host_name(host: bytes) -> bytes:
    name, colon, port = host.strip().lower().rpartition(b":")
    return name if colon and port.isdigit() else host.strip().lower()


def _options(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}


@lru_cache(maxsize=16)
def _comparable(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])  # a zone says nothing about trust
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped  # a dual-stack socket shows IPv4 peers so
    return address


@lru_cache(maxsize=4096)
def _is_within(text: str, networks: tuple[str, ...]) -> bool:
    if not text:
        return UNIX_PEER in networks
    address = _parse_address(text)
    if address is None:
        return False
    return any(
        address.version == network.version and address in network
        for network in (ip_network(entry) for entry in networks if entry != UNIX_PEER)
    )


def _is_loopback(text: str) -> bool:
    address = _parse_address(text)
    return address is not None and address.is_loopback


@lru_cache(maxsize=1024)
def _first_hop(peer: str, host: bytes, scheme: bytes) -> tuple[Header, ...]:
    """The forwarding headers of a call that reached us directly."""
    address = _plain(peer)
    headers: list[Header] = []
    if address:
        headers += [(b"x-forwarded-for", address), (b"x-real-ip", address)]
    if host:
        headers.append((b"x-forwarded-host", host))
    headers.append((b"x-forwarded-proto", scheme))
    headers.append((b"forwarded", _element(address, host, scheme)))
    return tuple(headers)


def _next_hop(
    peer: str,
    host: bytes,
    scheme: bytes,
    told: dict[bytes, list[bytes]],
    trusted_proxies: tuple[str, ...],
) -> list[Header]:
    """The forwarding headers of a call that a trusted proxy passed on: its own, continued."""
    chain = _chain(told)
    caller = _plain(_caller(peer, chain, trusted_proxies))
    address = _plain(peer)
    forwarded_for = b", ".join([*told.pop(b"x-forwarded-for", []), *([address] if address else [])])
    real = told.pop(b"x-real-ip", None)
    outer_host = told.pop(b"x-forwarded-host", None)
    outer_scheme = told.pop(b"x-forwarded-proto", None)
    elements = told.pop(b"forwarded", None)
    # A proxy that speaks X-Forwarded-* mostly passes on any `Forwarded` that a client made up, so
    # that one counts only where it stands alone.
    if forwarded_for != address or elements is None:
        first_host = outer_host[0] if outer_host else host
        first_scheme = outer_scheme[0] if outer_scheme else scheme
        elements = [
            _element(_plain(text), first_host if at == 0 else b"", first_scheme if at == 0 else b"")
            for at, text in enumerate(chain)
        ]
    elements = [*(elements or ()), _element(address, host, scheme)]
    headers: list[Header] = []
    if forwarded_for:
        headers.append((b"x-forwarded-for", forwarded_for))
    if real or caller:
        headers.append((b"x-real-ip", real[-1] if real else caller))
    if outer_host or host:
        headers.append((b"x-forwarded-host", b", ".join(outer_host) if outer_host else host))
    headers.append((b"x-forwarded-proto", b", ".join(outer_scheme) if outer_scheme else scheme))
    headers.extend((name, value) for name, values in told.items() for value in values)
    headers.append((b"forwarded", b", ".join(elements)))
    return headers


def _collect(headers: Iterable[Header]) -> dict[bytes, list[bytes]]:
    told: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in FORWARDING:
            told.setdefault(name, []).append(value)
    return told


def _chain(told: Mapping[bytes, list[bytes]]) -> list[str]:
    """The addresses a call passed, the caller first, as the last proxy told."""
    if b"x-forwarded-for" in told:
        listed = b",".join(told[b"x-forwarded-for"]).split(b",")
        return [_bare(part.decode("latin-1")) for part in listed if part.strip()]
    if b"forwarded" in told:
        chain = []
        for element in b",".join(told[b"forwarded"]).decode("latin-1").split(","):
            for pair in element.split(";"):
                key, _, value = pair.strip().partition("=")
                if key.lower() == "for":
                    chain.append(_bare(value.strip('"')))
        return chain
    for name in (b"x-real-ip", b"true-client-ip", b"x-client-ip"):
        if name in told:
            return [_bare(told[name][-1].decode("latin-1"))]
    return []


def _bare(text: str) -> str:
    """An address without the port and brackets it may be written with."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _caller(peer: str, chain: list[str], trusted_proxies: tuple[str, ...]) -> str:
    """Who made the call: going back from the peer, the first that is no proxy of ours."""
    for address in reversed(chain):
        if not is_trusted(address, trusted_proxies):
            return address
    return chain[0] if chain else peer


@lru_cache(maxsize=4096)
def _plain(text: str) -> bytes:
    """An address as headers carry it; what is none ("unknown", "_hidden") stays as it was told."""
    address = _parse_address(text)
    return (str(address) if address is not None else text).encode("latin-1", "replace")


def _element(address: bytes, host: bytes, scheme: bytes) -> bytes:
    """One element of `Forwarded` (RFC 7239 §4)."""
    node = b'"[%b]"' % address if b":" in address else _quoted(address or b"unknown")
    parts = [b"for=" + node]
    if host:
        parts.append(b"host=" + _quoted(host))
    if scheme:
        parts.append(b"proto=" + _quoted(scheme))
    return b";".join(parts)


_TOKEN_CHARACTERS: Final = frozenset(
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


def _quoted(value: bytes) -> bytes:
    if value and _TOKEN_CHARACTERS.issuperset(value):
        return value
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


__all__ = [
    "FORWARDING",
    "HOP_BY_HOP",
    "Header",
    "is_insider",
    "is_trusted",
    "request_headers",
    "response_headers",
]
