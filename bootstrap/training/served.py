"""A model folder for servers of other programs: how it is asked, as a chat template and a generation configuration.

    folder as trained                           folder as served
    plain prompts, the tokenizer's own tokens   a chat template that writes them around the last user's message
    chat template, system, examples, prefill    the same template, with these before and after the messages
    stop texts, shortest answer                 generation_config.json (no stop texts for a character tokenizer, whose
                                                vocabulary transformers' search for them refuses)

So any server that reads a chat template asks the model as in its training. Left out: a text in a message that spells a
control token, which other programs read as that token, and longer conversations with a model of plain prompts.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bootstrap.canonical import json_file
from bootstrap.records import Sampling
from bootstrap.training.asked import how_asked, tokens_around
from bootstrap.training.chat import TEMPLATE, Framing, framing_of, template_of
from bootstrap.training.choices import PROMPTING

GENERATION = "generation_config.json"
_PLACE = "\ue000"
"""Stands for the prompt: a private-use character, of which a framing holds none."""
_LAST = 'messages | selectattr("role", "equalto", "user") | map(attribute="content") | list | last'


def served(files: Mapping[str, bytes], *, sampling: Sampling) -> dict[str, bytes]:
    """Return the files of a folder to serve; `sampling`: what a request gets that names none.

    Raises RecipeError for a chat template that is no Jinja.
    """
    framing = framing_of(files)
    template = _around(framing, files) if framing.template is None else _with_choices(framing, files)
    kept = {name: data for name, data in files.items() if name != PROMPTING}
    return {**kept, TEMPLATE: template.encode(), GENERATION: _generation(framing, files, sampling)}


def _around(framing: Framing, files: Mapping[str, bytes]) -> str:
    """Return a template of plain prompts: of a conversation, the model reads the last message of the user."""
    before, _, after = framing.text(_PLACE).partition(_PLACE)
    opening, closing = tokens_around(files)
    # Plain examples stand before a prompt without white space around it.
    last = f"({_LAST}) | trim" if framing.choices.examples else _LAST
    return f"{_literal(opening + before)}{{{{ {last} }}}}{_literal(after + closing)}"


def _with_choices(framing: Framing, files: Mapping[str, bytes]) -> str:
    """Return the folder's own template, with the choices that it is asked with."""
    choices, source = framing.choices, template_of(files)
    assert source is not None, "a framing has a template where the folder has one"
    parts = list(_defaults(choices.template_arguments))
    shots = [
        {"role": role, "content": content}
        for shot in choices.examples
        for role, content in (("user", shot.prompt), ("assistant", shot.answer))
    ]
    system = [] if choices.system is None else [{"role": "system", "content": choices.system}]
    if system or shots:
        parts.append(
            '{% if messages and messages[0]["role"] == "system" %}'
            f"{{% set messages = [messages[0]] + {_json(shots)} + messages[1:] %}}"
            f"{{% else %}}{{% set messages = {_json([*system, *shots])} + messages %}}{{% endif %}}\n"
        )
    if choices.prefill:
        # Jinja drops a line end at a template's end, which the prefill would keep.
        source = source.removesuffix("\n") + f'{{{{ {_json(choices.prefill)} if add_generation_prompt else "" }}}}'
    return "".join([*parts, source])


def _defaults(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        if not name.isidentifier():
            continue
        # The line end after a block is dropped, so that the template begins a line as before.
        yield f"{{% if {name} is not defined %}}{{% set {name} = {_json(value)} %}}{{% endif %}}\n"


def _generation(framing: Framing, files: Mapping[str, bytes], sampling: Sampling) -> bytes:
    found = json.loads(files.get(GENERATION, b"{}"))
    stop = framing.choices.stop if not how_asked(files).alphabet else ()
    own = {
        "do_sample": sampling.temperature > 0,
        "temperature": sampling.temperature or None,
        "top_k": sampling.top_k if sampling.temperature else None,
        "top_p": sampling.top_p if sampling.temperature else None,
        "max_new_tokens": sampling.max_new_tokens,
        "min_new_tokens": framing.choices.min_new_tokens or None,
        "stop_strings": list(stop) or None,
    }
    return json_file({**found, **own}, indent=2)


def _literal(text: str) -> str:
    """Return a text as an expression of Jinja, so that nothing in it is read as one."""
    return f"{{{{ {_json(text)} }}}}" if text else ""


def _json(value: Any) -> str:
    """Return JSON data as a literal of Jinja, which has JSON's but for null."""
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
