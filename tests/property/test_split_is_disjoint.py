"""No draw, demonstration or suite of any task ever crosses between the train and the held-out split."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.config.tasks import AdditionTask, CopyTask, ReversalTask
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import split_of
from bootstrap.records import Split

TASKS = [build_task(AdditionTask()), build_task(ReversalTask()), build_task(CopyTask(alphabet="abcdefgh"))]

tasks = st.sampled_from(TASKS)
levels = st.integers(min_value=1, max_value=30)
seeds = st.integers(min_value=0, max_value=2**63 - 1)
counts = st.integers(min_value=0, max_value=150)


@settings(max_examples=150, deadline=None)
@given(task=tasks, level=levels, seed=seeds, count=counts)
def test_train_draws_and_held_out_suites_share_no_prompt(task, level, seed, count):
    heldout = {prompt.text for prompt in task.heldout(level, 200)}
    stone = task.has_stepping_stones and level > 1 and seed % 2 == 0
    train = {prompt.text for prompt in task.draw(level, count, seed=seed, stepping_stone=stone)}
    assert not heldout & train


@settings(max_examples=100, deadline=None)
@given(task=tasks, level=levels, seed=seeds, split=st.sampled_from(Split))
def test_every_drawn_prompt_is_in_the_split_it_names(task, level, seed, split):
    for prompt in task.draw(level, 40, seed=seed, split=split):
        assert prompt.split is split
        fraction = task.settings.heldout_fraction
        assert split_of(task.name, prompt.text, heldout_fraction=fraction) is split


@settings(max_examples=100, deadline=None)
@given(task=tasks, top=st.integers(min_value=1, max_value=4), seed=seeds, mixed=st.booleans())
def test_demonstrations_never_show_a_held_out_prompt(task, top, seed, mixed):
    for prompt, _ in task.demonstrate(range(1, top + 1), 60, seed=seed, mixed=mixed):
        assert prompt.split is Split.TRAIN
        fraction = task.settings.heldout_fraction
        assert split_of(task.name, prompt.text, heldout_fraction=fraction) is Split.TRAIN


@settings(max_examples=50, deadline=None)
@given(fraction=st.floats(min_value=0.01, max_value=0.99), text=st.text(max_size=20))
def test_a_held_out_text_stays_held_out_when_the_fraction_grows(fraction, text):
    if split_of("addition", text, heldout_fraction=fraction) is Split.HELDOUT:
        assert split_of("addition", text, heldout_fraction=(fraction + 1) / 2) is Split.HELDOUT
