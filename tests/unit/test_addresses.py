"""Addresses of clusters, job servers and tracking servers: IPv6 in brackets, and one clear error for what is none."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from support.chat_server import drip_server

from bootstrap import lookups
from bootstrap.cluster import connection, job_client
from bootstrap.errors import ClusterError, TrackingError
from bootstrap.lineage import reach, tracking


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections were sought; all are refused."""
    sought: list[tuple[str, int]] = []

    def refuse(host: str, port: int, *, seconds: float) -> None:
        sought.append((host, port))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(lookups, "reach", refuse)
    return sought


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("[::1]:6379", ("::1", 6379)),
        ("[fd00::1%eth0]:6379", ("fd00::1%eth0", 6379)),
        ("127.0.0.1:6379", ("127.0.0.1", 6379)),
        ("head:6379", ("head", 6379)),
    ],
)
def test_a_clusters_address_leads_to_its_host(
    address: str, place: tuple[str, int], connected: list[tuple[str, int]]
) -> None:
    with pytest.raises(ClusterError, match=r"no Ray answers at .* \(Connection refused\)"):
        connection.require_reachable(address)
    assert connected == [place]


@pytest.mark.parametrize("address", ["auto", "head"])
def test_what_names_no_port_is_left_to_ray(address: str, connected: list[tuple[str, int]]) -> None:
    connection.require_reachable(address)
    assert connected == []


@pytest.mark.parametrize(
    ("address", "words"),
    [("::1:6379", r"as \[ADDRESS\]:PORT"), ("[::1]", r"as \[ADDRESS\]:PORT"), ("head:99999", "ports end at 65535")],
)
def test_a_clusters_address_that_leads_nowhere_is_refused_in_words(
    address: str, words: str, connected: list[tuple[str, int]]
) -> None:
    with pytest.raises(ClusterError, match=words):
        connection.require_reachable(address)
    assert connected == []


def test_a_host_that_is_no_name_is_a_cluster_without_an_answer() -> None:
    with pytest.raises(ClusterError, match="no Ray answers at"):
        connection.require_reachable(f"{'a' * 70}:6379")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("[::1]:8265", "http://[::1]:8265"),
        ("http://[fd00::1]:8265/", "http://[fd00::1]:8265"),
        ("head:8265", "http://head:8265"),
        ("https://rays.example.org/prefix", "https://rays.example.org/prefix"),
    ],
)
def test_a_job_servers_address_becomes_its_url(address: str, url: str) -> None:
    assert job_client.job_server_url(address) == url


@pytest.mark.parametrize(
    "address", ["http://::1:8265", "::1", "http://[::1:8265", "head:port", "head:99999", "http://", "ray://head:10001"]
)
def test_what_is_no_job_servers_address_is_refused_in_words(address: str) -> None:
    with pytest.raises(ClusterError, match=r"http://HOST:8265 \(an IPv6 address stands in brackets\)"):
        job_client.job_server_url(address)


def test_a_server_that_speaks_another_protocol_is_no_job_server() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NO_PROXY", "127.0.0.1")
            with pytest.raises(ClusterError, match="is no Ray job server"):
                job_client.open_client(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join(10)


def test_a_job_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def drops() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        yield from itertools.repeat(b" ", 600)  # A minute's, then it breaks off.

    monkeypatch.setattr(job_client, "_REACH_SECONDS", 0.5)
    given_up = r"no Ray job server answers .* \(no whole answer within 0.5 s\)"
    with drip_server(drops) as url, pytest.raises(ClusterError, match=given_up):
        job_client.open_client(url.removesuffix("/v1"))


def test_a_job_server_whose_name_is_not_resolved_is_given_up(
    monkeypatch: pytest.MonkeyPatch, stuck_resolver: list[str]
) -> None:
    monkeypatch.setattr(job_client, "_REACH_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=r"no Ray job server answers .* \(no whole answer within 0.2 s\)"):
        job_client.open_client("http://head.invalid:8265")
    assert stuck_resolver == ["asked"], "the resolver has not come back"


def test_nobody_at_a_job_servers_address_is_said_in_the_systems_words() -> None:
    with socket.socket() as taken, pytest.MonkeyPatch.context() as patch:
        taken.bind(("127.0.0.1", 0))
        patch.setenv("NO_PROXY", "127.0.0.1")
        with pytest.raises(ClusterError, match=r"no Ray job server answers at .* \(Connection refused\)"):
            job_client.open_client(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_cluster_whose_name_is_not_resolved_is_given_up(
    monkeypatch: pytest.MonkeyPatch, stuck_resolver: list[str]
) -> None:
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=r"no Ray answers at head.invalid:6379 \(no answer within 0.2 s\)"):
        connection.require_reachable("head.invalid:6379")
    assert stuck_resolver == ["asked"], "the resolver has not come back"


def test_a_tracking_server_whose_name_is_not_resolved_is_given_up(
    monkeypatch: pytest.MonkeyPatch, stuck_resolver: list[str]
) -> None:
    monkeypatch.setattr(reach, "REACH_SECONDS", 0.2)
    with pytest.raises(TrackingError, match=r"mlflow.invalid:5000 cannot be reached \(no answer within 0.2 s\)"):
        reach.check_reachable("http://mlflow.invalid:5000")
    assert stuck_resolver == ["asked"], "the resolver has not come back"


def test_one_address_of_a_name_that_answers_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        places = [(*kind, taken.getsockname()), (*kind, server.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        lookups.reach("two", 1, seconds=5)
        places.pop()
        with pytest.raises(ConnectionRefusedError):
            lookups.reach("one", 1, seconds=5)


def test_a_tracking_server_is_named_with_its_brackets(connected: list[tuple[str, int]]) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(TrackingError, match=r"MLflow at \[fd00::1\]:5000 cannot be reached"),
    ):
        patch.setenv("NO_PROXY", "fd00::1")
        reach.check_reachable("http://[fd00::1]:5000")
    assert connected == [("fd00::1", 5000)]


@pytest.mark.parametrize("address", ["http://[fd00::1]:5000/a@b", "http://[::1]/#/x@y"])
def test_an_ipv6_host_is_no_user_name_to_hide(address: str) -> None:
    assert tracking.redact(address) == address
    assert tracking.redact(address.replace("://", "://me:secret@")) == address


def test_a_name_in_brackets_is_hidden_with_its_password() -> None:
    assert tracking.redact("http://[abc]:secret@host/x") == "http://host/x"
