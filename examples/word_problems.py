"""Write the files of `pipelines/word-problems.yaml`: one-step word problems, and two skills to keep.

    python examples/word_problems.py data/word-problems

    train.jsonl, heldout.jsonl     question, kind, solution (the worked step, the answer in a box), answer
    copying.jsonl, capitals.jsonl  prompt, answer: what a small model can do already and must not forget

The same program writes the same bytes. The held-out problems are about other people and other things than the trained
ones.
"""

import json
import random
import sys
from pathlib import Path

FILES = {
    "train": {
        "rows": 2000,
        "names": ["Ada", "Ben", "Carla", "David", "Emma", "Farid", "Grace", "Hugo", "Iris", "Jonas", "Kim", "Lena"],
        "things": ["apples", "books", "marbles", "stamps", "pencils", "shells", "coins", "cards", "buttons", "eggs"],
    },
    "heldout": {
        "rows": 600,
        "names": ["Milo", "Nora", "Oscar", "Priya", "Quinn", "Rosa", "Sami", "Tara"],
        "things": ["cups", "keys", "kites", "lamps", "plates", "stickers", "tickets", "toys"],
    },
}
"""The files by name: how many rows, and what their questions are about."""
TEMPLATES = {
    "add": [
        (
            "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
            "{name} has {step} {things} now.",
        ),
        (
            "There are {a} {things} on the table and {b} {things} in a box. How many {things} are there in all?",
            "There are {step} {things} in all.",
        ),
        (
            "{name} found {a} {things} in the morning and {b} in the evening. How many {things} did {name} find?",
            "{name} found {step} {things}.",
        ),
    ],
    "subtract": [
        (
            "{name} had {a} {things} and gave {b} of them away. How many {things} are left?",
            "There are {step} {things} left.",
        ),
        (
            "A shop had {a} {things} and sold {b}. How many {things} does the shop still have?",
            "The shop still has {step} {things}.",
        ),
        (
            "{name} needs {a} {things} and has {b}. How many more {things} does {name} need?",
            "{name} needs {step} more {things}.",
        ),
    ],
    "multiply": [
        (
            "There are {a} bags with {b} {things} in each. How many {things} are there in all?",
            "There are {step} {things} in all.",
        ),
        (
            "{name} buys {b} {things} every day. How many {things} does {name} buy in {a} days?",
            "{name} buys {step} {things}.",
        ),
        ("A shelf has {a} rows of {b} {things}. How many {things} are on the shelf?", "The shelf has {step} {things}."),
    ],
    "divide": [
        (
            "{name} shares {a} {things} equally among {b} friends. How many {things} does each friend get?",
            "Each friend gets {step} {things}.",
        ),
        ("{a} {things} are packed into bags of {b}. How many bags are needed?", "They need {step} bags."),
        (
            "{name} puts {a} {things} into {b} equal piles. How many {things} are in each pile?",
            "Each pile has {step} {things}.",
        ),
    ],
}
"""By kind: questions, and how their solutions are worded."""
SUBJECTS = ["The kite", "The lamp", "The river", "The garden", "The window", "The table", "The bridge", "The candle"]
VERBS = ["is near", "is behind", "is under", "is larger than", "is older than"]
CAPITALS = """
Afghanistan: Kabul, Albania: Tirana, Algeria: Algiers, Angola: Luanda, Argentina: Buenos Aires, Armenia:
Yerevan, Australia: Canberra, Austria: Vienna, Azerbaijan: Baku, Bangladesh: Dhaka, Belarus: Minsk, Belgium:
Brussels, Bolivia: Sucre, Bulgaria: Sofia, Cambodia: Phnom Penh, Canada: Ottawa, Chile: Santiago, China:
Beijing, Colombia: Bogotá, Croatia: Zagreb, Cuba: Havana, Cyprus: Nicosia, Denmark: Copenhagen, Ecuador: Quito,
Egypt: Cairo, Estonia: Tallinn, Ethiopia: Addis Ababa, Finland: Helsinki, France: Paris, Georgia: Tbilisi,
Germany: Berlin, Ghana: Accra, Greece: Athens, Guatemala: Guatemala City, Haiti: Port-au-Prince, Hungary:
Budapest, Iceland: Reykjavik, India: New Delhi, Indonesia: Jakarta, Iran: Tehran, Iraq: Baghdad, Ireland:
Dublin, Israel: Jerusalem, Italy: Rome, Jamaica: Kingston, Japan: Tokyo, Jordan: Amman, Kenya: Nairobi, Kuwait:
Kuwait City, Laos: Vientiane, Latvia: Riga, Lebanon: Beirut, Libya: Tripoli, Lithuania: Vilnius, Luxembourg:
Luxembourg, Madagascar: Antananarivo, Malaysia: Kuala Lumpur, Mali: Bamako, Malta: Valletta, Mexico: Mexico
City, Mongolia: Ulaanbaatar, Morocco: Rabat, Mozambique: Maputo, Nepal: Kathmandu, Nicaragua: Managua, Nigeria:
Abuja, Norway: Oslo, Oman: Muscat, Pakistan: Islamabad, Panama: Panama City, Paraguay: Asunción, Peru: Lima,
Poland: Warsaw, Portugal: Lisbon, Qatar: Doha, Romania: Bucharest, Russia: Moscow, Rwanda: Kigali, Senegal:
Dakar, Serbia: Belgrade, Singapore: Singapore, Slovakia: Bratislava, Slovenia: Ljubljana, Somalia: Mogadishu,
Spain: Madrid, Sudan: Khartoum, Sweden: Stockholm, Switzerland: Bern, Syria: Damascus, Thailand: Bangkok,
Tunisia: Tunis, Turkey: Ankara, Uganda: Kampala, Ukraine: Kyiv, Uruguay: Montevideo, Uzbekistan: Tashkent,
Venezuela: Caracas, Vietnam: Hanoi, Yemen: Sana'a, Zambia: Lusaka, Zimbabwe: Harare
"""
SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def numbers(rng, kind):
    """Two numbers of a problem and its answer."""
    if kind == "add":
        a, b = rng.randint(3, 80), rng.randint(3, 80)
        return a, b, a + b
    if kind == "subtract":
        a = rng.randint(12, 99)
        b = rng.randint(3, a - 2)
        return a, b, a - b
    a, b = rng.randint(2, 12), rng.randint(3, 12)
    return (a, b, a * b) if kind == "multiply" else (a * b, b, a)


def problem(rng, names, things):
    """One row."""
    kind = rng.choice(list(TEMPLATES))
    a, b, answer = numbers(rng, kind)
    about = {"name": rng.choice(names), "things": rng.choice(things), "a": a, "b": b}
    question, solution = rng.choice(TEMPLATES[kind])
    return {
        "question": question.format(**about),
        "kind": kind,
        "solution": solution.format(**about, step=f"{a} {SIGNS[kind]} {b} = \\boxed{{{answer}}}"),
        "answer": answer,
    }


def problems(name, rows, names, things):
    """Different problems about these people and things."""
    rng, found = random.Random(name), {}
    while len(found) < rows:
        row = problem(rng, names, things)
        found.setdefault(row["question"], row)
    return list(found.values())


def copying():
    """Sentences to repeat."""
    sentences = [
        f"{one} {verb} {other.lower()}." for one in SUBJECTS for verb in VERBS for other in SUBJECTS if one != other
    ]
    return [{"prompt": f"Repeat exactly: {sentence}", "answer": sentence} for sentence in sentences]


def capitals():
    """Countries and their capitals, as the model says them."""
    pairs = [pair.split(": ") for pair in " ".join(CAPITALS.split()).split(", ")]
    return [
        {"prompt": f"What is the capital of {one}?", "answer": f"The capital of {one} is {two}."} for one, two in pairs
    ]


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: problems(name, **about) for name, about in FILES.items()}
    for name, rows in {**files, "copying": copying(), "capitals": capitals()}.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{folder / name}.jsonl: {len(rows)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER")
    main(Path(sys.argv[1]))
