"""Make the goldens of the chat template tests: what Jinja, set up as transformers sets it up, renders.

  make_chat_template_golden.py        writes tests/data/chat_template/cases.json

Needs the Python package transformers (5.2.0 with jinja2 3.1.6 made the committed file). The tests need no Python.
"""
import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template

import chat_template_newer as newer
from chat_template_families import ALL as FAMILIES

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "chat_template"
PLAIN = '''{% for m in messages %}{{ '' if messages[0]['role'] == 'system' or not loop.first else '@rules
None today.
' }}{{ '@' + m['role'] + '
' + m['content'] + '
' }}{% endfor %}{% if add_generation_prompt %}{{ '@assistant
' }}{% endif %}'''
WORKSHOP = r'''{{- '(rules) ' }}
{{- messages[0]['content'] if messages[0]['role'] == 'system' else 'Help where you can.' }}
{%- for tool in tools or [] %}
    {{- '\n(at hand) ' }}
    {{- tool | tojson }}
    {%- if loop.last %}{{- "\n(to use: name {\"key\": value})" }}{%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- if m.role == 'tool' %}
        {%- set before = 'nobody' if loop.index0 == 0 else messages[loop.index0 - 1].role %}
        {%- set after = messages[loop.index0 + 1].role if not loop.last else 'nobody' %}
        {{- '\n(found)' if before != 'tool' }}{{- ' <' + m.content + '>' }}{{- ' (no more)' if after != 'tool' }}
    {%- elif m.role == 'assistant' and m.tool_calls %}
        {{- '\n(assistant)' + (' ' + m.content if m.content else '') }}
        {%- for use in m.tool_calls %}
            {%- set use = use.function if use.function is defined else use %}
            {{- '\n(use) ' + use.name + ' ' + use.arguments | tojson }}
        {%- endfor %}
    {%- elif not (m.role == 'system' and loop.first) %}
        {{- '\n(' + m.role + ') ' + m.content }}
    {%- else %}{#- the rules are there already -#}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '\n(assistant) ' }}{%- endif %}
'''
ROLL_CALL = r'''{{- bos_token }}{#- who is there, and on which day -#}
{%- if not day is defined %}{%- set day = "a Monday" %}{%- endif %}
{%- if extra_tools is defined %}{%- set tools = extra_tools %}{%- endif %}
{{- "Roll call on " + day }}{%- if tools is not none %}{{- ", with tools" }}{%- endif %}
{%- set notes = messages[0]['content'] | trim if messages[0]['role'] == 'system' else "" %}
{%- if notes %}{%- set messages = messages[1:] %}{%- endif %}
{{- "\n" + notes }}
{%- for m in messages %}
    {{- "\n" + m['role'] + ": " }}
    {%- if 'tool_calls' in m %}
        {%- set use = m.tool_calls[0].function %}
        {%- if not m.tool_calls | length == 1 %}{{- raise_exception("a turn has one call") }}{%- endif %}
        {%- for key, value in use.arguments | items %}
            {{- use.name + '.' + key + '=' ~ value }}{%- if not loop.last %}{{- " " }}{%- endif %}
        {%- endfor %}
    {%- elif not (m.role == 'tool' or m.role == 'ipython') %}
        {{- m['content'] | trim }}
    {%- else %}
        {{- m.content | tojson if m.content is mapping or m.content is iterable else m.content }}
    {%- endif %}
{%- endfor %}
'''
NAMESPACES = r'''{% set ns = namespace(found=false, text='', n=0) %}
{% for m in messages if m.role != 'system' %}
  {% set ns.n = ns.n + 1 %}
  {% if m.role == 'user' and not ns.found %}
    {% set ns.found = true %}
    {% set ns.text = m['content'][:5] ~ '|' ~ m.content[-3:] ~ '|' ~ m.content[::-1] %}
  {% endif %}
  {{ loop.index }}/{{ loop.length }} {{ m.role.upper() }} {{ loop.previtem.role if loop.previtem is defined else '-' }}
{% else %}
  nothing
{% endfor %}
{{ ns.found }} {{ ns.text }} {{ ns.n }}
'''
MACROS = r'''{%- macro show(x, depth=0, end='!') -%}
{{ '  ' * depth }}{{ x }}{{ end }}{% if depth < 2 %}{{ show(x + 1, depth + 1, end=end) }}{% endif %}
{%- endmacro -%}
{{ show(1) }} {{ show(5, end='?') }}'''
REASONING = (
    r"{%- for m in messages %}{%- if not '</think>' in m.content %}{{ m.content }}{%- else %}"
    r"{%- set halves = m.content.split('</think>') %}{{ halves[-1].lstrip('\n') }} (since "
    r"{{ halves[0].split('<think>')[-1].lstrip('\n').rstrip('\n') }}){%- endif %}{%- endfor %}"
    r"{%- if enable_thinking is defined and enable_thinking is false %}{{ ' (no reasons\n)' }}{%- endif %}")
EXPRESSIONS = [
    '1+2*3-4//3', '7//-2', '-7%3', '7/2', '2**10', '-2**2', '1e3', '1.5', '0.1+0.2', '1e20', '1e-7', '1_000',
    "'a' 'b'", "'a' ~ 1 ~ none ~ true", "[1,'a',none,true,1.0]", "{'a':1,'b':[1,{'c':2}]}", '(1,)', '(1,2)', '()',
    "'x' if false", "'x' if true else 'y'", '1 if 0 else 2 if 0 else 3', '1 < 2 < 3', '1 < 3 < 2', '1 == 1.0',
    'true == 1', "'a' in 'abc'", "'d' not in ['a']", "'k' in {'k':1}", 'not 1 == 2', "1 and 0 or 'z'", "[] or 'e'",
    "'abc'[1]", "'abc'[-1]", "'abc'[5]", "'äöü'[1]", "'äöü€😀'|length", "'äöü€😀'[1:4]", "'äöü€😀'[::-2]",
    '[1,2,3,4][1:]', '[1,2,3,4][:-1]', '[1,2,3][::-1]', '(1,2,3)[1:]', "'  a b '|trim", "'xxaxx'|trim('x')",
    "'  a '.strip() ~ '|'", "'a,b,,c'.split(',')", "' a  b c '.split()", "'a b c d'.split(' ',2)",
    "'a b c d'.rsplit(' ',1)", "'a\\nb\\r\\nc'.splitlines()", "'abc'.startswith('ab')", "'abc'.startswith(('x','a'))",
    "'abc'.endswith('c')", "'abc'.replace('b','xx')", "'aaaa'.replace('a','b',2)", "'abc'.find('c')",
    "'abc'.find('z')", "'äbc'.find('c')", "'hello world'.title()", '"it\'s a dog\'s".title()',
    '"it\'s a-dog (x)"|title', "'hELLO wORLD'|capitalize", "'ABC'|lower", "'straße'.upper()", "['a','b']|join(', ')",
    "[{'n':1},{'n':2}]|join('-', attribute='n')", '[3,1,2]|sort', "['b','A','c']|sort", '[3,1,2]|sort(reverse=true)',
    "{'b':1,'a':2}|dictsort", "{'b':1,'a':2}|items|list", "{'b':1,'a':2}.items()|list", "{'b':1}.get('x','d')",
    "{'b':1}.get('x')", "{'b':1}.keys()|list", '[1,2,3]|first', '[1,2,3]|last', '[]|first', "'abc'|first",
    "'abc'|last", "'abc'|list", '[1,1,2]|unique|list', '[1,2,3]|sum', '[1,2,3]|max', '[1,2,3]|min', "'abc'|reverse",
    '[1,2]|reverse|list', "'12'|int", "'x'|int", "'x'|int(7)", "'3.7'|int", "' 42 '|int", '3.9|int', "'1.5'|float",
    "'3'|float", '3|float', '-3|abs', '2.5|round', '3.567|round(2)', "2.1|round(method='ceil')", "undef|default('d')",
    "''|default('d')", "''|default('d',true)", "none|default('d')", 'undef', 'undef is defined', 'undef is undefined',
    'none is none', "'a' is string", '1 is string', '1 is number', 'true is number', 'true is integer',
    '1 is integer', '1.0 is float', '{} is mapping', '[] is mapping', '[] is iterable', "'a' is iterable",
    '1 is iterable', '[] is sequence', '{} is sequence', '3 is odd', '4 is even', '9 is divisibleby 3',
    '9 is divisibleby(3)', '1 is eq 1', '1 is ne 1', '2 is gt 1', "'a' is in ['a']", '1 is not none',
    '1 is not defined', "'abc' is lower", 'true is true', '1 is true', 'false is boolean', 'range is callable',
    'range(5)|list', 'range(1,10,3)|list', 'range(5,0,-2)|list', '{\'a\':1,\'b\':\'ü"\\n<\'}|tojson',
    "[1,2.0,none,true,'x']|tojson", "{'a':[1,{'b':2}],'c':{}}|tojson(indent=2)",
    "{'b':1,'a':2}|tojson(sort_keys=true)", "'<>&\\''|tojson", '\'<a&"b\\\'>\'|e', "'a\\nb\\n\\nc'|indent",
    "'a\\nb'|indent(2,true)", "'a'|upper|lower|length",
    "[{'a':1,'b':true},{'a':2,'b':false}]|selectattr('b')|map(attribute='a')|list",
    "[{'a':1},{'a':2}]|selectattr('a','equalto',2)|list", "[{'a':1},{'a':2}]|rejectattr('a','eq',2)|list",
    "[1,2,3,4]|select('even')|list", "[1,2,3,4]|reject('odd')|list", "['a','b']|map('upper')|join",
    "[1,'2']|map('string')|list", 'messages[0].content', "messages[0]['nope'] is defined", 'messages[-1].role',
    'messages|length', "messages|map(attribute='role')|list",
    "messages|selectattr('role','equalto','user')|list|length", 'dict(a=1,b=2)', '[1]+[2]', "'ab'*3", '[0]*3',
    "'%'|length", "'a'|string ~ 1|string", '1|string|length', '[1,2]|string', "'tab\\there'", '"q\\"q"',
    "'\\u00e9\\x41'", "'a\\'b'", '["it\'s"]', '[\'"\']', "['\\n']", "{'a':1}.a", "{'items':5}['items']",
    "[[1,2],[3,4]]|map('first')|list", "'x'.join(['a','b'])", "'abc'.count('b')", "'123'.isdigit()", "''.isdigit()",
    "'aXbX'.removesuffix('X')", "'a' < 'b'", '[1,2] < [1,3]', '1 != 2', "'a b'|replace(' ','_')",
    "123|replace('2','x')", 'loop is defined', "true and 'x' not in 'abc'", '-1|abs', '(-1)|abs', '+3', '1 - -1',
    "{'a':1}|length", "'ß'|upper", '"İ"|lower', "'a'|default", 'none', '1 is not string',
    "[1,2,3] is contains(1) if false else 'k'", "'é' in 'café'", "'  x'|trim ~ 'y  '|trim", '[1,[2,(3,)]]', '1.0',
    '100000000000000000.0', '1/3', '10 // 0.3', '5.5 % 2', '-5.5 % 2', "'a'.upper().lower()", "'Hello'[0]|lower",
    "{'a':{'b':3}}.a.b", "{'a':{'b':3}}['a']['b']", "[{'x':{'y':1}}]|map(attribute='x.y')|list",
    "[{'x':1},{}]|map(attribute='x',default=9)|list", "'a;b'.split(';')|last", "'one two'.split()[0]", 'undef|length',
    'undef|list', '1 in undef', "'' in 'abc'", "['a','b']|tojson", "'é😀\\u2028'|tojson", '2.50', '1e5',
    '12345678901234567890.0', '0.00001', "'a'~'b'|upper", "'abc'|replace('','-')", "'x y'|wordcount if false else 1",
    "{'a':'é','b':[1,2]}|tojson(separators=(',',':'))", "'é😀'|tojson(ensure_ascii=true)", "{'a':[1]}|tojson(indent=1,separators=(',',': '))",
    "{'a':1}|tojson(false,2)", "'one two  three'|wordcount", "[1,2,3,4,5]|batch(2)|list", "[1,2,3]|batch(2,0)|list", "'a-b-c'.partition('-')", "'a-b-c'.rpartition('-')", "'abc'.ljust(5) ~ '|'", "'abc'.rjust(5,'.')",
    "strftime_now('%Y')|length", "strftime_now('%-d') is string", "[1,2,3] == [1,2,3]", "{'a':1} == {'a':1}", "1 == '1'",
    "[3,1]|sort|first", "('a','b')|tojson", "[none]|first is none", "'  x '|trim|length", "[1,2,3][0:2] + [9]", "'a' in ('a','b')",
    "{'a':1}|list", "{'a':1,'b':2}|length", "{'a':1}.values()|list", "'abc'|list|join('-')", "'a,b'|replace(',',';')|upper", "'abc'[::2]", "range(3)|sum",
    "true|int", "'z'|int(default=-1)", "3.0|int", "1e16", "123456789.0", "1.0e-5", "'a'|upper ~ 'b'|lower", "messages[0].role|title", "not true or true",
    "1 if undef else 2", "(1 if true) ~ 'x'", "'x' ~ (1 if false)", "[1,2]|map('string')|join", "['1','2']|map('int')|sum", "messages|map(attribute='content')|map('trim')|map('length')|list",
    "[{'a':{'b':2}},{'a':{'b':1}}]|sort(attribute='a.b')|map(attribute='a.b')|list", "['b','a']|sort|join", "'a'|indent(first=true)", "'x'|attr('upper') is defined",
]
MISTAKES = [
    'undef.x', "undef + 'a'", "1 + 'a'", "'a' + 1", 'none + 1', "raise_exception('bad thing')", '1/0', '[1]|nofilter',
    '1 is notest', "{}['a'].b", '[].append(1)', "'a'.nomethod()", '5()', '1 in 5', "'a' < 1", '[1,2][0].x.y',
    'messages.foo.bar', '{{', '1 +', "'abc", '(1', '[1,2', '{1:2', 'foo(', 'a b', '1 ? 2', 'x | ', 'is defined',
    '{% endif',
]
SNIPPETS = [
    '  {% if true %}\n  a\n  {% endif %}\n b', 'a {%- if true -%}  x  {%- endif -%} b', 'a\n  {# c #}\n b',
    'a\n  {#- c -#}\n b', '{% raw %}{{ x }}{% endraw %}', 'a\n {% raw -%}  {% x %} {%- endraw %}\nb',
    ' {%+ if true %} x {% endif +%}\n y', '{{ 1 }}\n{{ 2 }}\n', '{{- 1 -}}\n  {{ 2 }}',
    '\r\na\r\n{% if 1 %}\r\nb{% endif %}\r\n', '{% set x %}a{{ 1 }}{% endset %}[{{ x }}]',
    '{% set x | upper %}abc{% endset %}{{ x }}', '{% filter upper %}abc{% endfilter %}',
    '{% with a=1, b=2 %}{{ a+b }}{% endwith %}{{ a is defined }}',
    '{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}',
    '{% for a, b in [(1,2),(3,4)] %}{{ a }}-{{ b }};{% endfor %}',
    "{% for k, v in {'a':1}.items() %}{{ k }}{{ v }}{% endfor %}", '{% set a, b = 1, 2 %}{{ a }}{{ b }}',
    '{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}',
    '{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}', '{% for i in [] %}a{% else %}b{% endfor %}',
    "{% for c in 'añb' %}{{ c }}.{% endfor %}",
    "{% for i in [1,2,3] %}{{ loop.first }}{{ loop.last }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.cycle('a','b') }} {% endfor %}",
    '{% generation %}x{% endgeneration %}y',
    '{% for i in [1,2] %}{% for j in [1,2] %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}{% endfor %}',
    '{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}', "{{ {'a': {'b': 1}} }}", "{{'}}'}}",
    "{%- set x = {'a': 1} -%}{{ x.a }}", '  {{ 1 }}  \n  {% set y = 2 %}  \n{{ y }}',
    '{% for m in messages %}\n{{ m.role }}\n{% endfor %}\nend\n\n',
    '{% macro f(a) %}{{ a }}{{ b }}{% endmacro %}{% set b = 3 %}{{ f(1) }}',
    '{% macro f(a,b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1,2) }}{{ f(b=4,a=3) }}',
    'x{% if true %}\n\ny{% endif %}', '{#\nmulti\n#}\nx', '{% if true -%}\n\n  y\n{%- endif %}',
    'text {{ undefinedvar }} more', '\t{% if 1 %}\tx{% endif %}',
    '{% set ns = namespace(a=1) %}{% for i in [1,2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}', '{% endif %}',
    '{% if %}x{% endif %}', '{% for x %}{% endfor %}', '{% foo %}', '{% if true %}', '{# unclosed', '{% raw %}x',
    '{{ 1', '{% set x.y = 1 %}', '{% set ns = 1 %}{% set ns.y = 1 %}', '{% for a, b in [1] %}{% endfor %}',
    '{% break %}', '\xa0{% if 1 %}x{% endif %}', 'a\n\u2003{% if 1 %}x{% endif %}', '{%if true%}x{%endif%}',
    "{{1}}{{'a'}}", '{%-if true-%} x {%-else-%} y {%-endif-%}', '{{ x }}{% set x = 5 %}{{ x }}',
    '{% for x in [1,2] if x > 1 %}{{ loop.index }}{{ x }}{% endfor %}',
    '{% for x in [1,2] %}{{ x }}{% endfor %}{{ x }}',
    '{% for x in [1,2,3] %}{{ loop.nextitem|default("-") }}{{ loop.previtem|default("-") }}{% endfor %}',
    '{% if a is defined %}x{% endif %}{% set a %}y{% endset %}{{ a }}',
    '{% do [1].append(2) %}x', '{% set x = [] %}{% set _ = x.append(1) %}{{ x }}', '{% set ns = namespace({"a": 1}, b=2) %}{{ ns.a }}{{ ns.b }}', '{% set (a, b) = (1, 2) %}{{ a }}{{ b }}', '{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}',
    '{%- for i in range(3) -%}\n  {{ i }}\n{%- if not loop.last %}, {% endif -%}\n{%- endfor -%}', '{{ "a" }}{# x #}\n{# y -#}\n  b', "{{ '{{' }}{{ '%}' }}", '{% raw %}{% endraw %}|',
    '{% set x = "a" if true else "b" %}{{ x }}', '{{ "a\\nb" }}', "{{ 'a' 'b' \"c\" }}", '{% for m in messages | rejectattr("role", "equalto", "system") %}{{ loop.index }}{{ m.role }}{% endfor %}',
    '{% for m in messages|reverse %}{{ m.role }} {% endfor %}', '{% if messages[-1].role == "user" and messages[-1]["content"] %}{{ "ok" }}{% endif %}',
]
MESSAGES = [{"role":"system","content":" Be  nice "},{"role":"user","content":"Hello wörld 😀\n"},{"role":"assistant","content":"<think>\nhm\n</think>\n\nhi"},{"role":"user","content":"bye"}]
TOOL_MESSAGES = [{"role":"user","content":"w?"},{"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"b":1,"a":"x é"}}}]},{"role":"tool","content":"r1"},{"role":"tool","content":"r2"},{"role":"assistant","content":"ok"}]
TOOLS = [{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}}}}}]


PARTS = [{"role":"user","content":[{"type":"image"},{"type":"text","text":" what is this? "}]},{"role":"assistant","content":[{"type":"text","text":"a cat"}]}]
RICH_TOOLS = TOOLS + [{"type":"function","function":{"name":"g","description":"é \"q\"","return":{"type":"string"},"parameters":{"type":"object","required":["list"],"properties":{"list":{"type":"array","items":{"type":"object","properties":{"x":{"type":"string","enum":["a","b"]}}}},"n":{"type":["integer","null"]},"o":{"oneOf":[{"type":"string","default":"z","description":"one"},{"type":"array","items":{"type":"number"}}]},"s":{"type":"string","nullable":True}}}}}]
DOCUMENTS = [{"doc_id": 1, "title": "t", "text": "One.\nTwo é."}, {"doc_id": 2, "text": ""}]
CALLS = [{"role":"user","content":"w?"},{"role":"assistant","content":None,"tool_calls":[{"type":"function","id":"123456789","function":{"name":"g","arguments":{"list":[1,2.5,None],"s":"x é"}}}]},{"role":"tool","content":{"content":[1,{"a":True}]}},{"role":"assistant","content":" done "}]


def render(template, add_generation_prompt, variables):
    """The text, or None where the template is refused."""
    names = dict(tools=None, documents=None, add_generation_prompt=add_generation_prompt, bos_token="<s>",
                 eos_token="</s>")
    try:
        return _compile_jinja_template(template).render(**{**names, **variables})
    except Exception:
        return None


def case(template, add_generation_prompt=True, **variables):
    return dict(template=template, add_generation_prompt=add_generation_prompt, variables=variables,
                text=render(template, add_generation_prompt, variables))


def cases():
    for template in (PLAIN, WORKSHOP, ROLL_CALL, NAMESPACES, MACROS, REASONING):
        for messages in (MESSAGES, MESSAGES[1:2], TOOL_MESSAGES):
            yield case(template, messages=messages)
        yield case(template, False, messages=MESSAGES[1:])
        yield case(template, messages=MESSAGES, tools=TOOLS)
        yield case(template, messages=TOOL_MESSAGES, tools=TOOLS, enable_thinking=False)
    for template in FAMILIES.values():
        for messages in (MESSAGES, MESSAGES[1:], MESSAGES[1:2], TOOL_MESSAGES, PARTS, CALLS):
            yield case(template, messages=messages)
        yield case(template, False, messages=MESSAGES[1:])
        yield case(template, messages=MESSAGES, tools=RICH_TOOLS, enable_thinking=False)
        yield case(template, messages=CALLS, tools=RICH_TOOLS, native=["g", "code"], tools_first=False)
    for template in newer.ALL.values():
        for messages in (MESSAGES, MESSAGES[1:], MESSAGES[1:2], TOOL_MESSAGES, PARTS, CALLS):
            for add_generation_prompt in (True, False):
                yield case(template, add_generation_prompt, messages=messages)
        yield case(template, messages=MESSAGES, tools=RICH_TOOLS, enable_thinking=False)
        yield case(template, False, messages=TOOL_MESSAGES, tools=RICH_TOOLS, thinking=True)
        yield case(template, messages=CALLS, tools=TOOLS, documents=DOCUMENTS, controls={"citations": True, "length": "short"})
    for expression in EXPRESSIONS + MISTAKES + newer.EXPRESSIONS:
        yield case("{{ " + expression + " }}", messages=MESSAGES)
    for snippet in SNIPPETS + newer.SNIPPETS:
        yield case(snippet, messages=MESSAGES)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in cases():
        if row["variables"].get("messages") == MESSAGES and len(row["variables"]) == 1:
            row["variables"] = None  # the test fills in the messages that nearly all cases share
        rows.append(row)
    (OUT / "cases.json").write_text(json.dumps(dict(messages=MESSAGES, cases=rows), indent=0, ensure_ascii=False) + "\n")
