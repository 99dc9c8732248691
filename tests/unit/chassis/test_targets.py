"""Where webhooks may go: tables of addresses that have fooled others."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from barecount_chassis.targets import PrivateTargets, TargetError, all_refused, is_public
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.63.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]

NOTHING = PrivateTargets()
REFUSED = [
    "http://example.com/",
    "ftp://example.com/",
    "//example.com/",
    "example.com",
    "javascript:alert(1)",
    "https://",
    "https:///x",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@10.0.0.1/",
    "https://example.com/#part",
    "https://example.com/#",
    "https://localhost/",
    "https://x.localhost/",
    "https://LOCALHOST./",
    "https://intranet/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.0x1/",
    "https://127.0.0.1./",
    "https://0/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[64:ff9b::7f00:1]/",
    "https://169.254.169.254/latest/meta-data",
    "https://１２７.０.０.１/",
    "https://①②⑦.0.0.1/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:x/",
    "https://exa_mple..com/",
    "https://-x.example/",
    "https://example.com\\@10.0.0.1/",
    "https://example.com/ü",
    "https://[::1",
    "https://[v1.x]/",
    "https://10.0.0.1:443/",
]
TAKEN = {
    "https://example.com": ("example.com", 443, "/"),
    "https://EXAMPLE.com:8443/hooks?a=1": ("example.com", 8443, "/hooks?a=1"),
    "https://bücher.example/": ("xn--bcher-kva.example", 443, "/"),
    "https://example.com./x": ("example.com", 443, "/x"),
    "https://8.8.8.8/": ("8.8.8.8", 443, "/"),
    "https://[2606:4700::1111]:444/": ("2606:4700::1111", 444, "/"),
}


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_that_is_not_everybodys_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("url", [*REFUSED, "https://exam ple.com/", "https://example.com/\r\nHost: x", "https://example.com\t/", ""])
def test_an_address_that_leads_inside_or_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(TargetError):
        NOTHING.check(url)


@pytest.mark.parametrize("url", TAKEN)
def test_a_public_address_is_taken(url: str) -> None:
    target = NOTHING.check(url)
    assert (target.host, target.port, target.path) == TAKEN[url]


def test_what_the_operator_allows_is_allowed_and_only_on_its_port() -> None:
    allowed = PrivateTargets.parse("127.0.0.1:8410, 10.1.0.0/16, [fd00::/8]:443, hooks.internal:8080")
    assert allowed.check("http://127.0.0.1:8410/x").place == "127.0.0.1:8410"
    assert allowed.check("http://10.1.2.3:99/").port == 99
    assert allowed.check("http://hooks.internal:8080/").host == "hooks.internal"
    assert allowed.check("https://[fd00::1]/").host == "fd00::1"
    for url in (
        "http://127.0.0.1:8411/",
        "http://127.0.0.2:8410/",
        "https://10.2.0.1/",
        "http://hooks.internal/",
        "https://[fd00::1]:444/",
    ):
        with pytest.raises(TargetError):
            allowed.check(url)
    assert allowed.why_not("hooks.internal", ip_address("192.168.0.9"), 8080) is None
    assert allowed.why_not("evil.example", ip_address("192.168.0.9"), 8080) is not None
    assert allowed.why_not("evil.example", ip_address("::ffff:10.1.0.1"), 80) is None


def test_one_private_address_condemns_the_name() -> None:
    mixed = [ip_address("8.8.8.8"), ip_address("10.0.0.1")]
    assert all_refused(NOTHING, "mixed.example", mixed, 443) is not None
    assert all_refused(NOTHING, "fine.example", mixed[:1], 443) is None


@pytest.mark.parametrize("text", ["10.0.0.0/33", "http://x", "a b", "::1:80:", "1.2.3.4:port"])
def test_a_setting_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="BARECOUNT_WEBHOOK_PRIVATE_TARGETS"):
        PrivateTargets.parse(text)


@given(number=st.integers(0, 2**128 - 1))
def test_an_ipv4_address_is_judged_alike_however_it_is_written(number: int) -> None:
    plain = ip_address(number & 0xFFFFFFFF)
    assert is_public(ip_address(f"::ffff:{plain}")) == is_public(plain) == is_public(ip_address((0x64FF9B << 96) | int(plain)))


@given(url=st.text(max_size=60) | st.text(max_size=40).map("https://{}/".format))
def test_nothing_that_is_sent_makes_the_check_fail_otherwise(url: str) -> None:
    try:
        target = NOTHING.check(url)
    except TargetError:
        return
    assert target.scheme == "https"
    assert target.host.isascii()
