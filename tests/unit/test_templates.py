"""Chat templates are rendered as transformers renders them, but for the clock."""

import json

import pytest
from support.pretrained import CHAT, small_folder, write
from transformers import AutoTokenizer

from bootstrap.errors import RecipeError
from bootstrap.training.chat import TEMPLATE, framed, framing_of
from bootstrap.training.templates import FAULTS

pytestmark = pytest.mark.torch

TURNS = "{% for m in messages %}{{ m.role }}:{{ m['content'] }}\n{% endfor %}"
PROMPT = 'a "quoted" <b>&amp;</b> prompt: π = {{ x }}'
RENDERED = {
    "plain": CHAT,
    "a generation tag": "{% for m in messages %}{% generation %}{{ m.content }}\n{% endgeneration %}{% endfor %}",
    "a generation tag with dashes": "[ {%- generation -%} {{ messages[-1].content }} {%- endgeneration -%} ]",
    "what is set in a generation tag stays there": (
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}"
    ),
    "no tools": "{% if tools is not none %}[TOOLS]{% endif %}" + TURNS,
    "no documents": "{% if documents is not none %}[DOCS]{% endif %}" + TURNS,
    "tools that are none, looped over": "{% if tools != none %}{% for t in tools %}{{ t }}{% endfor %}T{% endif %}A",
    "tools that are defined": "{% if tools is defined %}T{% endif %}{% if documents is defined %}D{% endif %}",
    "tools as JSON": "{{ tools | tojson }} {{ documents }}",
    "what nobody defines": "{{ builtin_tools }}{% if enable_thinking is defined %}T{% endif %}{{ x is none }}",
    "switches of thinking": "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}A",
    "every special token": "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ sep_token }}{{ pad_token }}"
    "{{ cls_token }}{{ mask_token }}{{ image_token }}",
    "JSON": "{{ messages | tojson }}",
    "JSON that is set out": "{{ messages[-1] | tojson(indent=2) }}",
    "JSON in ASCII": "{{ messages[-1] | tojson(true, 1) }}{{ {'b': 'é', 'a': 1} | tojson(sort_keys=true) }}",
    "JSON with separators": "{{ messages | tojson(separators=(',', ':')) }}",
    "loops that end early": (
        "{% for i in [1, 2, 3] %}{% if i < 2 %}{% continue %}{% endif %}{{ i }}{% break %}{% endfor %}"
    ),
    "a namespace": "{% set ns = namespace(x=1, self=2) %}{% for i in [3] %}{% set ns.x = i %}{% endfor %}{{ ns.x }}",
    "a dictionary": "{{ dict(a=1, **{'b': 2}) }}{{ dict.fromkeys(['a'], 0) }}{{ dict([('a', 1)]).items() | list }}",
    "blocks on lines of their own": "  {% if true %}\n  {{ messages[-1].content }}  \n  {% endif %}\n\n  end\n",
    "a macro": "{% macro turn(m) %}<{{ m.role }}>{{ m.content }}{% endmacro %}{{ turn(messages[0]) }}",
    "filters and methods": "{{ messages[-1].content.split(' ')[0] | trim | upper }}{{ messages[0].content[:4] ~ 1 }}",
    "the prompt of generation": "{{ add_generation_prompt }}{{ messages | length }}",
}
REFUSED = {
    "an exception": "{{ raise_exception('no') }}",
    "a namespace of internals": "{% set ns = namespace(_x=1) %}{{ ns }}",
    "a namespace that is given internals": "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "a class": "{{ ''.__class__.__mro__ }}",
    "a change of what is given": "{{ messages.append(1) }}",
    "a number divided by zero": "{{ 1 / 0 }}",
    "a text and a number": "{{ 'a' + 1 }}",
    "a list's end": "{{ [].pop() }}",
    "what JSON cannot hold": "{{ namespace | tojson }}",
    "a macro without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a call of nothing": "{{ nothing('x') }}",
}


def transformers(template, tmp_path, system=None):
    settings = {"sep_token": "a", "cls_token": "b", "mask_token": "c"}
    files = small_folder()
    found = json.loads(files["tokenizer_config.json"])
    files = {**files, TEMPLATE: template.encode(), "tokenizer_config.json": json.dumps(found | settings).encode()}
    tokenizer = AutoTokenizer.from_pretrained(write(files, tmp_path / "m"))
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": PROMPT}]
    return files, lambda: tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("system", [None, "abc"])
@pytest.mark.parametrize("form", RENDERED)
def test_a_template_is_rendered_as_transformers_renders_it(form, system, tmp_path):
    files, theirs = transformers(RENDERED[form], tmp_path, system)
    assert framing_of(framed(files, chat=True, system=system)).text(PROMPT) == theirs()


@pytest.mark.parametrize("form", REFUSED)
def test_what_transformers_cannot_render_is_refused_with_a_remedy(form, tmp_path):
    files, theirs = transformers(REFUSED[form], tmp_path)
    with pytest.raises(FAULTS):
        theirs()
    with pytest.raises(RecipeError, match=r"template refuses the prompt: .*base\.model\.chat: plain"):
        framing_of(files).text(PROMPT)


def test_a_template_that_takes_a_clock_for_granted_reads_the_same_day_for_ever():
    files = {**small_folder(), TEMPLATE: b"Today: {{ strftime_now('%d %B %Y') }}\n{{ messages[-1].content }}"}
    assert framing_of(files).text("x") == "Today: 26 July 2024\nx"


@pytest.mark.parametrize(
    "drawn",
    ["{{ messages | random }}", "{{ lipsum() }}", "{{ lipsum(n=1) }}", "{{ [[1, 2]] | map('random') | list }}"],
)
def test_a_template_that_draws_at_random_is_refused_with_the_cause(drawn):
    with pytest.raises(RecipeError, match=r"refuses the prompt: it draws at random .* write what it draws into the"):
        framing_of({**small_folder(), TEMPLATE: drawn.encode()}).text("x")


def test_a_template_that_draws_at_random_elsewhere_serves():
    source = "{% if tools %}{{ tools | random }}{% endif %}{{ messages[-1].content }}"
    assert framing_of({**small_folder(), TEMPLATE: source.encode()}).text("x") == "x"


@pytest.mark.parametrize("asked", ["strftime_now is defined", "not (strftime_now is undefined)"])
def test_a_template_that_asks_for_a_clock_says_itself_what_it_writes_without(asked):
    source = "{% if " + asked + " %}{{ strftime_now('%Y') }}{% else %}undated{% endif %}"
    assert framing_of({**small_folder(), TEMPLATE: source.encode()}).text("x") == "undated"
