"""Steps as a user writes them: good ones, and one for each way to go wrong."""

from dataclasses import replace

SEEN = []


def everything(groups, *, tools, rl=0.0, ce=0.0, kl=0.0):
    """A good one: every answer that could be judged, alike."""
    return [one.learn(rl=rl, ce=ce, kl=kl) for group in groups for one in group if one.right is not None]


def last_token(groups, *, tools):
    """A good one: the last token of each answer alone is answerable."""
    return [one.learn(rl=[0] * (one.num_tokens - 1) + [1]) for group in groups for one in group if one.num_tokens]


def showing(groups, *, tools, count, **weights):
    """A good one: references alone, for `ce` and `kl`."""
    return [reference.learn(**weights) for reference in tools.references(count)]


def telling(groups, *, tools):
    """A good one that leaves all out, and notes what it was given."""
    SEEN.append((groups, tools, tools.rng.random()))
    return []


def returns(groups, *, tools, value):
    """Returns what the options say."""
    return value


def twice(groups, *, tools):
    return [groups[0][0].learn(ce=1.0)] * 2


def forging(groups, *, tools):
    """Trains on a text that nobody gave it."""
    return [replace(groups[0][0], text="forged").learn(ce=1.0)]


def one(groups, *, tools, **weights):
    return [groups[0][0].learn(**weights)]


def clumsy(groups, *, tools):
    raise KeyError("best")


def forgetful(groups):
    """Takes no tools."""
