"""Algorithms as a user writes them: good ones, and one for each way to go wrong."""

import math


def centred(rewards, *, lengths, scale=1.0):
    """A good one: the reward less its group's mean, for all tokens alike."""
    return [[scale * (reward - math.fsum(group) / len(group)) for reward in group] for group in rewards]


def last_token(rewards, *, lengths):
    """A good one: the last token alone is answerable."""
    found = centred(rewards, lengths=lengths)
    return [
        [[0.0] * (length - 1) + [value] if length else [] for value, length in zip(*pair, strict=True)]
        for pair in zip(found, lengths, strict=True)
    ]


def meddling(rewards, *, lengths):
    """Changes what it is given."""
    for group in rewards:
        group.reverse()
    return rewards


def returns(rewards, *, lengths, value):
    """Returns what the options say."""
    return value


def not_finite(rewards, *, lengths):
    return [[float("nan")] * len(group) for group in rewards]


def clumsy(rewards, *, lengths):
    raise KeyError("baseline")


def forgetful(rewards):
    """Takes no lengths."""


TALE = "no function"
