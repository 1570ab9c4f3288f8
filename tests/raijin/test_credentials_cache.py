"""When SSM is asked, and when not."""

from __future__ import annotations

import asyncssh
import pytest

from dea.raijin.credentials import Credentials, parse_private_key
from dea.raijin.credentials_cache import CredentialsCache, cached_credentials

KEYS = [
    parse_private_key(asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode(), "p") for _ in "ab"
]


class Store:
    """SSM, as far as the cache sees it."""

    def __init__(self) -> None:
        self.asked = 0
        self.key = KEYS[0]
        self.now = 1_000_000.0

    def load(self) -> Credentials:
        self.asked += 1
        return Credentials("dea", "raijin", 22, self.key, (KEYS[1],))

    def cache(self) -> CredentialsCache:
        return CredentialsCache(self.load, lifetime_s=300, clock=lambda: self.now)


def test_within_their_lifetime_they_are_read_once() -> None:
    store = Store()
    cache = store.cache()
    assert [cache.get()[1] for _ in range(3)] == [True, False, False]
    store.now += 299
    assert cache.get()[1] is False
    store.now += 1
    assert cache.get()[1] is True
    assert store.asked == 2


def test_a_clock_that_went_back_does_not_keep_them_for_ever() -> None:
    store = Store()
    cache = store.cache()
    cache.get()
    store.now -= 1
    assert cache.get()[1] is True


def test_after_a_refusal_they_are_read_again_whatever_their_age() -> None:
    store = Store()
    cache = store.cache()
    refused, _ = cache.get()
    store.key = KEYS[1]
    assert cache.renewed(refused).private_key == KEYS[1]
    assert cache.get()[0].private_key == KEYS[1]


def test_many_that_are_refused_at_once_ask_once() -> None:
    store = Store()
    cache = store.cache()
    refused, _ = cache.get()
    store.key = KEYS[1]
    assert {cache.renewed(refused).private_key.fingerprint for _ in range(5)} == {KEYS[1].fingerprint}
    assert store.asked == 2


def test_sessions_of_one_process_share_what_was_read_if_it_is_the_same_store(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_credentials("a.prefix")
    assert cached_credentials("a.prefix") is first
    assert cached_credentials("another.prefix") is not first
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert cached_credentials("a.prefix") is not first
