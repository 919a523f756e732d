"""Put GSM8K (arXiv:2110.14168, MIT licence) into a folder: `train.jsonl`, `test.jsonl` and `examples.jsonl`.

    python examples/gsm8k.py data/gsm8k                        # from the Hugging Face hub: pip install datasets
    python examples/gsm8k.py data/gsm8k ~/downloads/gsm8k      # from a folder with its files as JSON Lines

A row holds `question` and `answer`: the worked solution, then `#### ` and the number. `examples.jsonl` holds two
trained questions with their solutions in the form that the recipe asks for, for a small model to follow.
"""

import json
import re
import sys
from pathlib import Path

HUB, CONFIG, REVISION = "openai/gsm8k", "main", "e53f048856ff4f594e959d75785d2c2d37b678ee"
SPLITS = ("train", "test")
NUM_EXAMPLES = 2


def from_hub():
    """Rows of each split."""
    from datasets import load_dataset

    return {split: list(load_dataset(HUB, CONFIG, split=split, revision=REVISION)) for split in SPLITS}


def from_folder(folder):
    """Rows of each split, from the one file whose name holds the split's."""
    rows = {}
    for split in SPLITS:
        found = sorted(path for path in folder.glob("*.jsonl") if split in path.stem and "socratic" not in path.stem)
        if len(found) != 1:
            sys.exit(f"{folder} holds {len(found)} files like *{split}*.jsonl; one is needed")
        with found[0].open(encoding="utf-8") as lines:
            rows[split] = [json.loads(line) for line in lines]
    return rows


def examples(rows):
    """The shortest questions with three steps, without the calculator's notes."""
    chosen = sorted((row for row in rows if row["answer"].count("\n") == 3), key=lambda row: len(row["question"]))
    shown = []
    for row in chosen[:NUM_EXAMPLES]:
        solution, answer = re.sub("<<.*?>>", "", row["answer"]).split("#### ")
        shown.append({"prompt": row["question"], "answer": f"{solution}\\boxed{{{answer}}}"})
    return shown


def main(folder, source=None):
    rows = from_hub() if source is None else from_folder(Path(source))
    files = {split: [{name: row[name] for name in ("question", "answer")} for row in rows[split]] for split in SPLITS}
    folder.mkdir(parents=True, exist_ok=True)
    for name, listed in {**files, "examples": examples(files["train"])}.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{folder / name}.jsonl: {len(listed)} rows")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} FOLDER [SOURCE]")
    main(Path(sys.argv[1]), *sys.argv[2:])
