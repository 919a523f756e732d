"""Faults of processes, disks, clocks and locks."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.faults.scene import LINEAGE, Driver, Ending, Outcome, Scene, unsaved_seconds
from bootstrap.store.lock import LOCK_NAME

KILLS = 10


def faults() -> Iterator[tuple[str, Callable[[Scene], Outcome]]]:
    """Yield each fault's name with what brings it about."""
    yield f"driver killed (SIGKILL) at {KILLS} random moments", _killed_often
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        yield f"driver told to end ({number.name})", lambda scene, number=number: _told(scene, number)
    yield "disk full", lambda scene: _injected(scene, "disk_full")
    yield "inodes used up", lambda scene: _injected(scene, "inodes_used_up")
    yield "disk read-only", lambda scene: _injected(scene, "disk_read_only")
    yield "one failing sync", lambda scene: _injected(scene, "disk_error_once")
    yield "clock jumps by days", _clock
    yield "lock of a dead driver", _dead_lock
    yield "lock file removed under a driver, second driver started", _second_driver
    yield "Ray's worker killed", lambda scene: _ray_process(scene, "ray::")
    yield "Ray's raylet killed", lambda scene: _ray_process(scene, "raylet")
    yield "Ray's control store killed", lambda scene: _ray_process(scene, "gcs_server")


def committed(store: Path) -> int:
    """Return the number of a store's records."""
    return len(list((store / LINEAGE / "ledger").glob("0*.json")))


def _parts(store: Path) -> int:
    return sum(path.name.startswith("part-") for path in (store / LINEAGE / "work").glob("*"))


def _in_training(store: Path) -> bool:
    return committed(store) >= 1 and _parts(store) >= 3


def _killed_often(scene: Scene) -> Outcome:
    generator, store, lost = random.Random(0), scene.store("killed"), 0.0
    ending = Ending(0, 0.0, "")
    for _ in range(KILLS):
        driver = scene.start_growing(store)
        driver.wait_for(lambda: (store / LINEAGE / LOCK_NAME).exists())
        time.sleep(generator.uniform(0.0, 4.0))
        if driver.process.poll() is None:
            lost = max(lost, unsaved_seconds(store))
        ending = driver.end(signal.SIGKILL)
    return scene.resumed(store, ending, lost=lost)


def _told(scene: Scene, number: signal.Signals) -> Outcome:
    store = scene.store("told")
    driver = scene.start_growing(store)
    driver.wait_for(lambda: _in_training(store))
    lost = unsaved_seconds(store)
    ending = driver.end(number)
    outcome = scene.resumed(store, ending, lost=lost)
    if ending.code != 130 or "same command" not in ending.text:
        return Outcome("SILENT", ending, lost=lost, is_equal=outcome.is_equal)
    return outcome


def _injected(scene: Scene, injection: str) -> Outcome:
    store = scene.store(injection)
    ending = scene.grow(store, injection=injection)
    outcome = scene.resumed(store, ending, lost=None)
    return outcome if ending.code == 3 else Outcome("NOT NOTICED", ending, is_equal=outcome.is_equal)


def _clock(scene: Scene) -> Outcome:
    store = scene.store("clock")
    ending = scene.grow(store, injection="clock_jumps")
    equal = scene.is_equal(store)
    return Outcome("survived" if equal and ending.code == 0 else "LOST", ending, lost=0.0, is_equal=equal)


def _dead_lock(scene: Scene) -> Outcome:
    store = scene.store("dead")
    driver = scene.start_growing(store)
    driver.wait_for(lambda: (store / LINEAGE / LOCK_NAME).exists())
    return scene.resumed(store, driver.end(signal.SIGKILL), lost=None)


def _second_driver(scene: Scene) -> Outcome:
    store = scene.store("second")
    first = scene.start_growing(store)
    first.wait_for(lambda: _in_training(store))
    lost = unsaved_seconds(store)
    (store / LINEAGE / LOCK_NAME).unlink()
    second = scene.start_growing(store)
    endings = [first.end(), second.end()]
    stopped = [ending for ending in endings if ending.code == 3 and ending.is_clear and LOCK_NAME in ending.text]
    equal = scene.is_equal(store)
    if len(stopped) != 1 or not equal:
        return Outcome("BOTH WRITE", endings[0], lost=lost, is_equal=equal)
    return Outcome("refused", stopped[0], lost=lost, is_equal=equal)


def _ray_process(scene: Scene, name: str) -> Outcome:
    store = scene.store("ray")
    driver = scene.start_growing(store, ray=True)
    driver.wait_for(lambda: _in_training(store))
    lost = unsaved_seconds(store)
    for process in _children(driver, name):
        process.kill()
    ending = driver.end()
    if ending.code != 5 or not ending.is_clear:
        equal = scene.is_equal(store)
        return Outcome(f"EXIT {ending.code}" if ending.code else "survived", ending, lost=lost, is_equal=equal)
    return scene.resumed(store, ending, lost=lost)


def _children(driver: Driver, name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(driver.process.pid).children(recursive=True):
        words = process.cmdline()
        if words and (words[0].startswith(name) or Path(words[0]).name == name):
            found.append(process)
    if not found:
        driver.end(signal.SIGKILL)
        raise RuntimeError(f"Ray started no process {name}")
    return found
