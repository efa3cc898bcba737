"""Chat templates of our own with what newer public templates use beyond chat_template_families.py.

ARCHIVE: documents and controls, as for Granite. CARDS: further keys of tools, as for Qwen3 Coder. REPORT: `call`
blocks, a plan before the calls and formatted text, as for Command R. RADIO: developer messages, channels and types of
tools, as for gpt-oss. COURT: the first and the last of several calls, all on one line, as for DeepSeek. DIARY: parts of
content through a macro, as for GLM. Texts and marks are made up. After them expressions and snippets, among them calls
by `call` blocks and with `caller`, `varargs`, `kwargs`.
"""
ARCHIVE = r"""{%- if messages[0]['role'] != 'system' %}
    {%- set label = "The date is long: " ~ (strftime_now('%B %d, %Y') | length > 10) ~ "." %}
    {%- if documents %}
        {%- set label = label ~ '\nPapers: ' ~ documents | length %}
        {%- if 'citations' in controls %}{%- set label = label + ', named with every claim' %}{%- endif %}
    {%- elif tools %}
        {%- set label = label + '\nNo papers.' %}
    {%- endif %}
{%- else %}
    {%- set label, messages = messages[0]['content'], messages[1:] %}
{%- endif %}
{{- 'ARCHIVE
' + label + '
' }}
{%- for paper in documents or [] %}
    {{- '{"paper": "' + paper['doc_id'] | string + '"} ' + paper['text'] + '
' }}
{%- endfor %}
{%- if tools %}
    {{- 'tools ' + tools | tojson(indent=4) + '
' }}
{%- endif %}
{%- for entry in messages %}
    {{- entry['role'] + ': ' + (entry['content'] or '') | string + '
' }}
    {%- if add_generation_prompt and loop.last %}
        {{- 'assistant' }}{%- if controls %}{{- ' under ' + controls | tojson() }}{%- endif %}{{- ': ' }}
    {%- endif %}
{%- endfor %}
"""
CARDS = r"""{% macro rest(of, shown) %}
    {%- if of is mapping %}
        {%- for key in of if key not in shown %}
            {%- set value = of[key] %}
            {%- if value is mapping or (value is sequence and value is not string) %}
                {%- set value = value | tojson | safe %}
            {%- endif %}
            {{- '\n   ' ~ key ~ ': ' ~ (value | string) }}
        {%- endfor %}
    {%- endif %}
{% endmacro %}
{%- if not tools is defined %}{%- set tools = [] %}{%- endif %}
{%- set dealt = tools is iterable and tools | length > 0 %}
{%- if messages[0]["role"] == "system" %}
    {%- set title = messages[0]["content"] %}
{%- endif %}
{%- if title is defined or dealt %}{{- "TABLE " ~ (title if title is defined else "with cards") }}{%- endif %}
{%- for tool in (tools if dealt else []) %}
    {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
    {{- '\ncard ' ~ tool.name }}
    {%- if tool.description is defined %}{{- ' (' ~ (tool.description | trim) ~ ')' }}{%- endif %}
    {%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is mapping %}
        {%- for name, field in tool.parameters.properties | items %}
            {{- '\n - ' ~ name }}{%- if field.type is defined %}{{- ', a ' ~ (field.type | string) }}{%- endif %}
            {{- rest(field, ['type', 'description']) }}
        {%- endfor %}
    {%- endif %}
    {{- rest(tool.parameters, ['type', 'properties']) ~ rest(tool, ['name', 'description', 'parameters']) }}
{%- endfor %}
{%- for turn in messages[0 if title is not defined else 1:] %}
    {%- if turn.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}{{- '\ntable:' }}{%- endif %}
        {{- ' [' ~ turn.content ~ ']' }}
        {%- if loop.last %}{{- ' and no more' }}{%- elif loop.nextitem.role != "tool" %}{{- ' so far' }}{%- endif %}
    {%- elif turn.tool_calls is defined and turn.tool_calls is iterable and turn.tool_calls | length > 0 %}
        {{- '\n' + turn.role + ' plays' }}
        {%- for play in turn.tool_calls %}
            {%- if play.function is defined %}{%- set play = play.function %}{%- endif %}
            {{- ' ' + play.name }}
            {%- for name, value in play.arguments | items %}
                {%- set value = value | tojson | safe if value is mapping or (value is sequence and value is not string)
                                else value | string %}
                {{- '\n - ' + name + ': ' + value }}
            {%- endfor %}
        {%- endfor %}
        {%- if turn.content is string and turn.content | trim | length > 0 %}
            {{- '\n' + turn.content | trim }}
        {%- endif %}
    {%- else %}
        {{- '\n' + turn.role + ': ' ~ turn.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '\nassistant: ' }}{%- endif %}
"""
REPORT = r"""{%- macro part(name, level=2) -%}
{{ '=' * level }} {{ name }}
{{ caller() }}
{%- endmacro -%}
{%- macro entry(tool) -%}
* {{ tool.name }}: {{ tool.description | replace('"', "'") | indent(4) }}
{%- for name, field in tool.parameters.properties.items() %}
{{ '%s (%s)' % (name, field.type | default('open')) }}{% if not loop.last %}; {% endif %}
{%- endfor %}
{%- endmacro -%}
{%- set ns = namespace(count=0, found=[]) -%}
{{ bos_token }}
{%- call part("Order") -%}
{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% else %}As usual.{% endif %}
{%- endcall %}

{% if tools %}
{% call part("Means", level=3) %}
{% for tool in tools %}{{ entry(tool.function) }}
{% endfor %}
{% endcall %}
{% endif %}
{%- for m in messages if m.role != 'system' %}
{%- if m.tool_calls -%}
Next: {{ m.tool_calls | map(attribute='function.name') | join(', ') }}
{{ m.tool_calls | map(attribute='function') | list | tojson(indent=1) }}
{% elif m.role == 'tool' -%}
{%- set ns.count = ns.count + 1 -%}
{%- set ns.found = ns.found + [m.content] -%}
Finding {{ '%02d' | format(ns.count) }}
{{- '{:>3}/{}'.format(ns.count, messages | selectattr('role', 'eq', 'tool') | list | count) }}: {{ m.content }}
{% else -%}
{{ m.role }}: {{ m.content }}
{% endif %}
{%- endfor %}
{% if add_generation_prompt %}assistant, after {{ ns.found | length }}: {% endif %}"""
RADIO = r"""{%- macro sort_of(field) -%}
    {%- if field.enum -%}
        {{- '"' + field.enum | join('" / "') + '"' }}
    {%- elif field.type is iterable and field.type is not string -%}
        {{- field.type | join(" / ") }}
    {%- elif field.type != "array" -%}
        {{- field.type | default("open", true) }}
    {%- elif field['items'] and field['items']['type'] in ("string", "number", "boolean") -%}
        {{- {"string": "texts", "number": "numbers"}.get(field['items']['type'], "answers") }}
    {%- else -%}
        {{- "many" }}
    {%- endif -%}
{%- endmacro -%}
{%- macro stations(band, tools) -%}
    {{- band + " band:\n" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {%- set fields = tool.parameters.properties if tool.parameters else {} %}
        {{- tool.name + ", " + tool.description + (", takes nothing" if not fields else "") + "\n" }}
        {%- for name, field in fields.items() %}
            {{- "  " + name + (" *" if name not in (tool.parameters.required or []) else "") + ": " + sort_of(field) }}
            {{- "\n" if field.default is not defined else " = " ~ (field.default | tojson) ~ "\n" }}
        {%- endfor %}
    {%- endfor %}
{%- endmacro -%}
{{- "QST " ~ (strftime_now("%Y-%m-%d") | length) ~ " " + (effort | default("calm")) + "\n" }}
{%- set traffic = messages[(messages[0].role in ("system", "developer")) | int:] %}
{%- if traffic | length < messages | length %}{{- "orders: " + messages[0].content + "\n" }}{%- endif %}
{%- if tools %}{{- stations("short", tools) }}{%- endif %}
{%- set last = namespace(station=none) %}
{%- for m in traffic -%}
    {%- if m.role == 'tool' -%}
        {%- if last.station is none %}{{- raise_exception("an answer on a dead channel") }}{%- endif %}
        {{- last.station + " > me: " + m.content | tojson + " over\n" }}
    {%- elif m.role != 'assistant' -%}
        {{- "you > me: " + m.content + " over\n" }}
    {%- elif not m.tool_calls -%}
        {%- set last.station = none %}
        {{- "me > you: " + m.content + (" out\n" if loop.last and not add_generation_prompt else " over\n") }}
    {%- else -%}
        {%- set call = m.tool_calls[0] %}
        {%- if call.function %}{%- set call = call.function %}{%- endif %}
        {%- if m.thinking and m.content %}{{- raise_exception("two voices on a channel") }}{%- endif %}
        {%- set last.station = call.name %}
        {{- "me > " + call.name + ": " + call.arguments | tojson + " over\n" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}me > {% endif -%}
"""
COURT = (  # one line: blocks that touch, and no line breaks for trim_blocks and lstrip_blocks to take
    r"{% set court = namespace(proof=false, law='', asked=false, open=true) %}"
    r"{%- for m in messages if m['role'] == 'system' %}"
    r"{% set court.law = court.law + m['content'] + ('.' if loop.last else ';\n') %}{%- endfor %}"
    r"{% if not thinking is defined %}{% set thinking = false %}{% endif %}"
    r"{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    r"{{ bos_token }}{{ 'Law: ' + court.law }}{%- for m in messages %}{%- if m['role'] == 'tool' -%}"
    r"{{ ' Exhibit: ' ~ m['content'] + '.' if m['content'] is string else ' Exhibit.' }}"
    r"{%- set court.proof = true -%}{%- set court.asked = false -%}{%- elif m['role'] == 'user' -%}"
    r"{{ ' Plea: ' + m['content'] }}{%- set court.proof = false -%}{%- set court.asked = true -%}"
    r"{%- elif m['role'] == 'assistant' -%}"
    r"{% if court.asked %}{{ ' Judge, ' +"
    r" ('musing: ' if thinking and m['open'] is defined and m['open'] else 'at once: ') }}{% endif %}"
    r"{%- set court.asked = false -%}{%- if m['tool_calls'] is defined and m['tool_calls'] is not none %}"
    r"{%- set court.open = true -%}{%- for call in m['tool_calls'] %}{%- if not court.open %}"
    r"{{ ', then ' + call['function']['name'] }}{%- else %}{%- set court.open = false -%}"
    r"{{ ('' if m['content'] is none else m['content']) + 'call ' + call['function']['name'] + ' on ' +"
    r" call['function']['arguments'] | tojson }}{%- endif %}{%- endfor %}{{ '.' + eos_token }}{%- endif %}"
    r"{%- if m['tool_calls'] is not defined or m['tool_calls'] is none %}{%- set verdict = m['content'] -%}"
    r"{%- if '</think>' in verdict and not court.proof %}"
    r"{%- set verdict = verdict.split('</think>', 1)[1] -%}{%- endif %}"
    r"{%- set court.proof = false -%}{{ verdict + eos_token }}{%- endif %}{%- endif %}{%- endfor -%}"
    r"{%- if add_generation_prompt and court.asked and not court.proof %}{{ ' Judge, ' }}"
    r"{%- if thinking %}{{ 'musing: ' }}{%- else %}{{ 'at once: ' }}{%- endif %}{% endif %}")
DIARY = r"""{%- macro words(of) -%}
    {%- if of is none -%}
        {{- '' }}
    {%- elif of is iterable and of is not mapping and of is not string -%}
        {%- for bit in of -%}
            {%- if bit is string -%}
                {{- bit }}
            {%- elif bit is mapping and bit.type == 'text' -%}
                {{- bit.text }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{- of }}
    {%- endif -%}
{%- endmacro -%}
Diary{% if tools %} with tools
{% for tool in tools %}
{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}
{%- endif -%}
{%- set ns = namespace(asked=[-1]) %}
{%- for m in messages %}
    {% set ns.asked = ns.asked + ([loop.index0] if m.role == 'user' else []) -%}
{%- endfor %}
{%- set brief = enable_thinking is defined and not enable_thinking %}
{% for m in messages %}
{%- set text = words(m.content) %}
{%- if m.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != "tool" %}
    {{- '\nThe post brought' }}
{%- endif %}
{%- if m.content is not string -%}
:{% for item in m.content %}

- {{ item.output if item.output is defined else item }}
{% endfor -%}
{%- else -%}
    {{- ' "' + m.content + '"' }}
{%- endif -%}
{%- elif m.role == 'assistant' -%}
{%- set doubt = m.doubt if m.doubt is string else '' %}
{%- if not doubt and '</think>' in text %}
    {%- set doubt, text = text.split('</think>', 1) %}
    {%- set doubt = doubt.split('<think>')[-1].lstrip('\n') %}
{%- endif %}

I said
{%- if doubt and loop.index0 > ns.asked[-1] -%}
{{ ', doubting ' + doubt.rstrip('\n') }}
{%- endif -%}
{{ ': ' + text.strip() if text.strip() else '.' -}}
{% for call in m.tool_calls or [] %}
{%- set call = call.function or call %}
{{ '\nThen I asked ' + call.name }}
{% set given = call.arguments %}
{% for k, v in given.items() %}
  {{ k }} is {{ v if v is string else v | tojson(ensure_ascii=False) }}
{% endfor %}
{% endfor %}
{%- else -%}

{{ 'You' if m.role == 'user' else 'The rule' }} said:
{{ text -}}
{{- ' (in short)' if brief and not words(m.content).endswith("(in short)") else '' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    I will say: {{- ' no doubt' if brief else '' -}}
{%- endif -%}
"""
ALL = dict(archive=ARCHIVE, cards=CARDS, report=REPORT, radio=RADIO, court=COURT, diary=DIARY)

EXPRESSIONS = [
    # formatting
    "'%s and %s' % ('a', 1)", "'%s' % 'one'", "'%5s|%-5s|' % ('é', 'b')", "'%d %i %5d %-5d| %05d %+d' % (1, -2, 3, 4, 5, 6)",
    "'%.2f %8.3f %e %g' % (3.14159, 2.5, 12345.678, 0.0001)", "'%x %X %o %#x' % (255, 255, 8, 255)", "'100%%' % ()",
    "'%(a)s-%(b)02d' % {'a': 'x', 'b': 7}", "'%r %s' % ('q', none)", "'%.3s' % 'abcdef'", "'%s' % [1, 'a']", "'%d' % 3.9",
    "'%s' % ('a', 'b')", "'%s %s' % ('a',)", "'%d' % 'x'", "'%q' % 1", "'abc' % 1", "'%s' % ()", "'%", "'%' % 1",
    "'%+.1f' % 2.25", "'% d' % 5", "'%06.2f' % -1.5", "'%s %s'|format('a', 1)", "'%(x)s'|format(x=3)", "'%s'|format",
    "'{} {}'.format(1, 'b')", "'{1}{0}{1}'.format('a', 'b')", "'{name}={v:>4}|{v:<4}|{v:^5}|'.format(name='n', v=7)",
    "'{:>6}|{:*^7}|{:5}|{:05d}|{:+d}'.format('é', 'mid', 'x', 42, 3)", "'{:.2f} {:8.1f} {:e} {:.1%}'.format(1.005, 2.25, 1500.0, 0.256)",
    "'{:x} {:#b} {:o} {:X}'.format(255, 5, 8, 171)", "'{{}} {}'.format(1)", "'{}'.format()", "'{a}'.format(b=1)", "'{'.format(1)",
    "'{:d}'.format('x')", "'{} {}'.format(none, true)", "'{:.3}'.format('abcdef')", "'{:<05d}|{:x<5}'.format(3, 'a')",
    "'}'.format()", "'{:05}'.format('ab')",
    # text
    "'abc'.center(8) ~ '|'", "'abc'.center(6, '*')", "'ab'.center(5, '-')", "'ab'|center(7) ~ '|'", "'é'|center(4) ~ '|'", "'7'.zfill(3)", "'-7'.zfill(4)",
    "'abcabc'.rindex('b')", "'abc'.rindex('z')", "' a b  c '.rsplit(none, 1)", "'a b c'.rsplit(maxsplit=0)", "'a b c '.rsplit(none, 5)", "'  a  b'.rsplit(none, 2)",
    "'a\\tb'.split()", "'x'.ljust(3, '.') ~ 'y'.rjust(3, '.')",
    # arguments
    "range(*[1, 4])|list", "dict(**{'a': 1}, b=2) if false else 'k'", "dict(a=1, **{'b': 2})", "'{}-{}'.format(*['a', 'b'])", "'{a}'.format(**{'a': 1})",
    "range(**5)", "joiner(', ') is callable", "'upper' is filter", "'uppercase' is filter", "[['a','b'],['c']]|map('join', '+')|list",
    "[{'a': 1}]|map(attribute='b', default='z')|list", "['x','y']|map('replace', 'x', 'q')|list", "[' a ','b ']|map('trim')|join(',')",
    "[1.5, 2]|map('round')|list", "['a','b']|map('indent', width=2, first=true)|list",
    # what templates of tools do
    "(messages|map(attribute='role')|unique|list)|tojson", "messages|selectattr('role', 'in', ['user', 'system'])|list|length",
    "messages|rejectattr('content', 'undefined')|list|length", "messages|selectattr('content', 'string')|map(attribute='content')|map('length')|sum",
    "(messages|last).content[-3:]", "messages[-1]['content'][::-1]", "messages[1:3]|map(attribute='role')|join('>')", "messages[:-1]|length",
    "{'a': {'b': [1, {'c': none}]}}|tojson(indent=4)", "[]|tojson(indent=2)", "{}|tojson(indent=2)", "[[], {}]|tojson(indent=2)", "{'é': '\\u2028'}|tojson(indent=0)",
    "{1: 2, 'a': true}|tojson", "{'b': 1, 'a': [3, 2]}|tojson(indent=2, sort_keys=true)", "'\\b\\f\\x01/'|tojson", "1e300*1e10", "(1e300*1e10)|tojson",
    "{'x': 1}.get('y', {}).get('z', 'w')", "'a' in {'a': 1}.keys()", "{'a': 1}.items()|list|first", "namespace(a=1).a", "namespace(a=1).b is defined",
    "(1, 2) + (3,)", "[1] + [2] == [1, 2]", "'a' ~ [1, 'b'] ~ {'c': none}", "'x' if messages and messages[0].role == 'system' else 'y'",
    "messages[0].get('tool_calls', []) | length", "messages[0].tool_calls is defined", "messages[0]['tool_calls'] is none", "not messages[0].tool_calls",
    "'<think>a</think>b'.split('</think>')[-1].lstrip('\\n')", "'a<b>c'.split('<b>')", "'  x\\n'.rstrip('\\n').strip()", "'abc'.strip('ac')",
    "'line1\\nline2'|indent(2)|replace('\\n', '|')", "'Ab c'.lower().replace(' ', '_')", "3 is in [1, 2, 3]", "'b' is in 'abc'", "none is not defined", "none is defined",
    "[none, 1, '']|select|list", "[none, 1, '']|reject('none')|list", "[0, 1]|select('true')|list", "{'a': none}|items|list", "loop is defined or false",
]
SNIPPETS = [
    '{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box("a") %}in{% endcall %}',
    '{% macro each(xs) %}{% for x in xs %}{{ caller(x, loop.index) }};{% endfor %}{% endmacro %}{% call(v, n) each([5,6]) %}{{ n }}={{ v }}{% endcall %}',
    '{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}', '{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}',
    '{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}', '{% set v = 1 %}{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{{ v }}{% endcall %}',
    '{% macro f(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ f(1, 2, 3) }}{{ f(1) }}', '{% macro f(a) %}{{ a }}{{ kwargs }}{% endmacro %}{{ f(1, b=2) }}{{ f(a=1) }}',
    '{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}', '{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, b=2) }}', '{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{"a": 3, "b": 4}) }}',
    '{% call 5 %}x{% endcall %}', '{% call f() %}x', '{% macro f(x) %}{{ caller(x=x) }}{% endmacro %}{% call(x="d") f(2) %}{{ x }}{% endcall %}',
    '{% set j = joiner(", ") %}{% for i in [1,2,3] %}{{ j() }}{{ i }}{% endfor %}', '{% set j = joiner() %}{{ j() }}a{{ j() }}b',
    '{% for i in [1,2] %}{% for j in [3,4] %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}{% endfor %}', '{% for a in [1,2,3] %}{{ loop.length }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}',
    '{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ loop.index }}{% if m.role == "assistant" %}{% break %}{% endif %}{% endfor %}',
    '{% for i in [3,1,2]|sort %}{{ i }}{{ "," if not loop.last }}{% endfor %}', '{% for k, v in {"b": 1, "a": 2}|dictsort %}{{ k }}{{ v }}{% endfor %}', '{% for m in messages[1:] %}{{ loop.index0 }}{{ m["role"][0] }}{% endfor %}',
    '{% set ns = namespace(n=0) %}{% for m in messages %}{% for c in m.content %}{% set ns.n = ns.n + 1 %}{% endfor %}{% endfor %}{{ ns.n }}',
    '{% set x %}\n  a\n  {% if true %}\n  b\n  {% endif %}\n{% endset %}[{{ x }}]', '{% set x | trim | upper %}  abc  {% endset %}[{{ x }}]', '{% filter trim | replace("a", "b") %}  aXa  {% endfilter %}|',
    '{%- if true -%}\n    a\n{%- else -%}\n    b\n{%- endif %}\n\n  c', 'a\n\n{%- if true %}\n\nb\n{% endif -%}\n\nc', '   {%- set x = 1 %}   \n   {{- x }}   \n', '{{ "a" }}\n\n{%- for i in [1,2] %}\n  {{ i }}\n{% endfor %}\nz',
    '  {#- a -#}  x  {# b #}\n  y', '\n{% if true %}\n{% endif %}\n\nx\n', '{% raw %}\n{{ a }}\n{% endraw %}\nx', '{%+ if true %}\nx{% endif %}', ' {% if true +%}\nx{% endif %}',
    '{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q is defined }}', '{% for m in messages %}{% if m.role == "assistant" %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.role }}{% endif %}{% endfor %}',
    '{{ raise_exception("no " ~ messages[0].role) }}', '{% if messages[0].role != "user" %}{{ raise_exception("first the user") }}{% endif %}', '{% set a = b = 1 %}', '{% include "x" %}', '{% extends "x" %}', '{% do x %}',
]
