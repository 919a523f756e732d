r"""Units beside numbers: `12 \text{ cm}^2`, `5 miles`, `90^\circ`, `25\%`, `\$36`.

Units are compared by name, with their usual abbreviations: `5 m` is not `500 cm`. Unknown words are compared without
upper case and without a plural's `s`.
"""

import re
from collections import Counter

_ALIASES = {
    "mm": "millimeter millimeters millimetre millimetres",
    "cm": "centimeter centimeters centimetre centimetres",
    "m": "meter meters metre metres",
    "km": "kilometer kilometers kilometre kilometres kms",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard yards yds",
    "mi": "mile miles",
    "mg": "milligram milligrams",
    "g": "gram grams",
    "kg": "kilogram kilograms kgs",
    "lb": "lbs pound pounds",
    "oz": "ounce ounces",
    "ton": "tons",
    "ml": "mL milliliter milliliters millilitre millilitres",
    "l": "L liter liters litre litres",
    "gal": "gallon gallons",
    "quart": "quarts",
    "pint": "pints",
    "cup": "cups",
    "s": "sec secs second seconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "years yr yrs",
    "degree": "degrees deg",
    "radian": "radians rad",
    "percent": "percents pct",
    "dollar": "dollars usd USD",
    "cent": "cents",
    "euro": "euros",
    "rupee": "rupees",
    "unit": "units",
    "mph": "",
    "kph": "kmh",
    "am": "a.m.",
    "pm": "p.m.",
}
_NAMES = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases.split())}
_SCALED = "ms ns us kW kWh MW Hz kHz MHz GHz Pa kPa eV keV MeV mA kV mV dB dL dl cL cl KB MB GB TB"
_ABBREVIATIONS = (*_SCALED.split(), "mol", "kJ", "cal", "kcal", "rpm", "tsp", "tbsp")
"""Units with one spelling, without those that may as well be products of letters, as `ac` and `nm`."""
_NAMES |= {name: name for name in _ABBREVIATIONS}
_COMPOUND = {"mph": (("mi", 1), ("h", -1)), "kph": (("km", 1), ("h", -1))}
MULTIPLES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
"""Words after a number -> zeros."""
_FACTORS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_AFTER = ("squared", "cubed")
LETTERS = frozenset("mgshlLCFKNJWVA")
"""Units of one letter, read as units only beside a slash or a degree sign, or where the reference has them."""
PLAIN = frozenset(
    name for name in _NAMES if len(name) > 1 and name.isalpha() and name not in ("am", "pm", "rad", "deg", "ton")
)
"""Units that are read as units right after a number, without `\\text`."""
SIGNS = {r"\degree": "degree", r"\percent": "percent", r"\dollar": "dollar", r"\euro": "euro", r"\pound": "sterling"}
"""Signs -> unit."""
_DIMENSIONS = (
    "mm cm m km in ft yd mi",
    "mg g kg lb oz ton",
    "ml l gal quart pint cup",
    "s min h day week month year",
    "degree radian",
    "percent",
    "dollar cent euro rupee sterling",
)
_WRITTEN = {"degree": r"\^\s*\{?\\circ|°", "percent": r"%", "dollar": r"\$", "euro": "€", "sterling": "£"}
_WORD = re.compile(r"[A-Za-z](?:[A-Za-z']|(?<=[A-Za-z])\.(?=[A-Za-z])|(?<=\.[A-Za-z])\.)*")
_PARTS = re.compile(rf"(?P<word>{_WORD.pattern})|\^\{{?(?P<power>-?[0-9])\}}?|(?P<slash>/)|(?P<space>[\s*$-]+)")


def unit_of(phrase: str) -> str | None:
    """Return the normal form of a phrase of units, as `cm^2` or `h^-1 mi`, or None where it is none.

    `phrase` holds words, signs of `SIGNS` as their words, powers and slashes.
    """
    powers: Counter[str] = Counter()
    place, sign, factor = 0, 1, 1
    last: tuple[tuple[str, int], ...] = ()
    while place < len(phrase):
        match = _PARTS.match(phrase, place)
        if match is None:
            return None
        place = match.end()
        word = match["word"]
        if match["power"] is not None or word in _AFTER:
            if len(last) != 1 or factor != 1:
                return None
            power = int(match["power"]) if match["power"] is not None else _FACTORS[word]
            powers[last[0][0]] += last[0][1] * (power - 1)
            last = ()
        elif match["slash"] or word == "per":
            if sign < 0 or not powers:
                return None
            sign, last = -1, ()
        elif word in _FACTORS:
            factor, last = _FACTORS[word], ()
        elif word:
            name = _name(word)
            last = tuple((part, power * sign * factor) for part, power in _COMPOUND.get(name, ((name, 1),)))
            for part, power in last:
                powers[part] += power
            factor = 1
    if factor != 1 or not powers or (last == () and phrase.rstrip().endswith(("/", "per"))):
        return None
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in sorted(powers.items()) if power)


def is_known(word: str) -> bool:
    """Whether a word is a unit of the table."""
    return word in _NAMES


def _name(word: str) -> str:
    if (known := _NAMES.get(word)) or (known := _NAMES.get(word.casefold())):
        return known
    if len(word) == 1:
        return word
    word = word.casefold()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def names(prompt: str, unit: str) -> bool:
    """Whether a prompt names a known unit, and no other one of its dimension.

    An answer may then add the unit to its reference: `\\$5` for 5 where the prompt asks for dollars, but not where it
    names cents too.
    """
    measured = next((dimension.split() for dimension in _DIMENSIONS if unit.split("^")[0] in dimension.split()), None)
    if measured is None or len(unit.split()) > 1:
        return False
    words = {_NAMES.get(word) or _NAMES.get(word.casefold()) for word in _WORD.findall(prompt)}
    signs = {name for name, sign in _WRITTEN.items() if re.search(sign, _currency(prompt))}
    # `in` is more often a word than inches.
    found = ((words - {"in"}) | signs | ({"in"} if re.search(r"\binch", prompt) else set())) & set(measured)
    return found == {unit.split("^")[0]}


def _currency(prompt: str) -> str:
    """Return a prompt without the dollar signs around mathematics, so that the others are currency."""
    if r"\$" in prompt:
        return re.sub(r"(?<!\\)\$", " ", prompt)
    return re.sub(r"\$(?![0-9.])", " ", prompt)
