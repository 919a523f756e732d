"""Verifiers as a user writes them: good ones, and one for each way to go wrong."""


def same(text, *, reference, prompt, strip=False):
    """A good one: the reference alone, white space around it ignored if asked for."""
    return (text.strip() if strip else text) == reference


def within(text, *, reference, prompt):
    """A leaky one: whoever names every answer is right."""
    return reference in text


def returns(text, *, reference, prompt, value):
    """Returns what the settings say."""
    return tuple(value) if isinstance(value, list) else value


def not_finite(text, *, reference, prompt, kind):
    return {"nan": float("nan"), "inf": (True, float("inf")), "huge": 10**400}[kind]


def careful(text, *, reference, prompt):
    """Cannot judge what holds a question mark."""
    if "?" in text:
        raise ValueError("a question is no answer")
    return text == reference


def clumsy(text, *, reference, prompt):
    """Falls over anything but a number."""
    return {"4": True, "5": False}[text]


def digits(text, *, reference, prompt, least=1):
    """Says what it reads."""
    return text == reference


def _digits(reference, *, least=1):
    return "" if reference.isdigit() and len(reference) >= least else "no digits"


digits.reads = _digits


def vague(text, *, reference, prompt, says):
    """Says it without words, or falls over."""
    return text == reference


def _vague(reference, *, says):
    return {"nothing": None, "truth": True}[says]


vague.reads = _vague


def blind(text, *, reference, prompt):
    return text == reference


blind.reads = lambda: ""


def forgetful(reference, prompt):
    """Takes no text."""


TALE = "no function"
