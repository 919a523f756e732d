"""A training step of your own: imitate the best right answers of each prompt, push its wrong ones away, and show a
reference for every prompt that nobody solved.

Named by a recipe as `{type: plugin, uses: "best_of_step:step"}` among `generations.steps`.
"""


def step(groups, *, tools, keep=1, push=0.1):
    """One list a prompt, with its sampled and judged answers. Returns what this round trains on, and how much.

    `sample.learn` takes a weight for each stream: `rl` (an advantage), `ce` (imitation), `kl` (a teacher's
    distribution, where the recipe's step names one under `teaching`). What is not returned is not trained on.
    """
    lessons, unsolved = [], 0
    for group in groups:
        right = sorted((one for one in group if one.right), key=lambda one: one.num_tokens)
        lessons += [one.learn(ce=1.0) for one in right[:keep]]
        lessons += [one.learn(rl=-push) for one in group if one.right is False]
        unsolved += not right
    return lessons + [reference.learn(ce=1.0) for reference in tools.references(unsolved)]
