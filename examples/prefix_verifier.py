"""A verifier of your own: right is right, and a wrong answer earns the share of letters before its first mistake.

Named by a recipe as `verifier: {type: plugin, uses: "prefix_verifier:verify"}`.
"""


def verify(text, *, reference, prompt, partial=0.5):
    """Whether the answer is right, and its reward. `partial` comes from the recipe (`settings`)."""
    if text == reference:
        return True, 1.0
    agreeing = 0
    while text[agreeing : agreeing + 1] == reference[agreeing : agreeing + 1] != "":
        agreeing += 1
    return False, partial * agreeing / max(len(reference), 1)


def reads(reference, *, partial=0.5):
    """Why no answer could be judged by this reference, or "": for tasks from files, whose rows are looked at first."""
    return "" if reference else "an empty reference"


verify.reads = reads
