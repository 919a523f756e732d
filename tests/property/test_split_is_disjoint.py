"""No draw, demonstration or suite of any task ever crosses between the train, the held-out and the final split."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.config.tasks import AdditionTask, CopyTask, FunctionsTask, ReversalTask
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import split_of
from bootstrap.records import Split

TASKS = [
    build_task(AdditionTask(final_fraction=0.2)),
    build_task(AdditionTask(split_by="text", final_fraction=0.1)),
    build_task(ReversalTask(heldout_fraction=0.3, final_fraction=0.2)),
    build_task(CopyTask(alphabet="abcdefgh", heldout_fraction=0.3, final_fraction=0.2)),
    build_task(FunctionsTask(final_fraction=0.1)),
]


def side_of(task, text):
    """The split of a text by the hash of what it asks, written out."""
    settings = task.settings
    by_question = settings.split_rule == "question"
    digest = hashlib.sha256(
        (f"{task._family.kind}\n{task._family.question(text)}" if by_question else f"{task.name}\n{text}").encode()
    ).digest()
    share = int.from_bytes(digest[8:16], "big") / 2**64
    if share < settings.heldout_fraction:
        return Split.HELDOUT
    return Split.FINAL if share < settings.heldout_fraction + settings.final_fraction else Split.TRAIN


tasks = st.sampled_from(TASKS)
levels = st.integers(min_value=1, max_value=30)
seeds = st.integers(min_value=0, max_value=2**63 - 1)
counts = st.integers(min_value=0, max_value=150)


@settings(max_examples=150)
@given(task=tasks, level=levels, seed=seeds, count=counts)
def test_train_draws_and_held_out_suites_share_no_prompt(task, level, seed, count):
    heldout = {prompt.text for prompt in task.heldout(level, 200)}
    final = {prompt.text for prompt in task.final(level, 200)}
    easier = task.has_easier_variants and level > 1 and seed % 2 == 0
    train = {prompt.text for prompt in task.draw(level, count, seed=seed, easier_variant=easier)}
    assert heldout and final
    assert not heldout & train and not final & train and not heldout & final


@settings(max_examples=100)
@given(task=tasks, level=levels, seed=seeds, split=st.sampled_from(Split))
def test_every_drawn_prompt_is_in_the_split_it_names(task, level, seed, split):
    for prompt in task.draw(level, 40, seed=seed, split=split):
        assert prompt.split is split
        assert side_of(task, prompt.text) is split


@settings(max_examples=100)
@given(task=tasks, top=st.integers(min_value=1, max_value=4), seed=seeds, mixed=st.booleans())
def test_demonstrations_never_show_a_held_out_prompt(task, top, seed, mixed):
    for prompt, _ in task.demonstrate(range(1, top + 1), 60, seed=seed, mixed=mixed):
        assert prompt.split is Split.TRAIN
        assert side_of(task, prompt.text) is Split.TRAIN


@settings(max_examples=50)
@given(fraction=st.floats(min_value=0.01, max_value=0.99), text=st.text(max_size=20))
def test_a_held_out_text_stays_held_out_when_the_fraction_grows(fraction, text):
    assert split_of("addition", text, heldout_fraction=fraction) is not Split.FINAL
    if split_of("addition", text, heldout_fraction=fraction) is Split.HELDOUT:
        assert split_of("addition", text, heldout_fraction=(fraction + 1) / 2) is Split.HELDOUT
