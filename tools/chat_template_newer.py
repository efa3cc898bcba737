"""Chat templates of our own with what newer public templates use beyond chat_template_families.py: documents and
controls (Granite), tool calls in XML with further keys (Qwen3 Coder), a plan before the calls and formatted text
(Command R), developer messages, channels and types of tools (gpt-oss), the first and the last of several calls
(DeepSeek), parts of content through a macro (GLM), calls by `call` blocks and with `caller`, `varargs`, `kwargs`.
"""
GRANITE = r'''{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "Cut-off: some day.\nLength of the date: " ~ (strftime_now('%B %d, %Y') | length > 10) ~ "." %}
    {%- if tools and documents %}
        {%- set system_message = system_message + " Tools and documents." %}
    {%- elif tools %}
        {%- set system_message = system_message + " Tools." %}
    {%- elif documents %}
        {%- set system_message = system_message + " Documents." %}
    {%- endif %}
    {%- if 'citations' in controls and documents %}
        {%- set system_message = system_message + '\n\nCite with [n].' %}
    {%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|role|>system<|/role|>' + system_message + '<|eot|>
' }}
{%- if tools %}
    {{- '<|role|>tools<|/role|>' }}
    {{- tools | tojson(indent=4) }}
    {{- '<|eot|>
' }}
{%- endif %}
{%- for document in documents or [] %}
    {{- '<|role|>document {"document_id": "' + document['doc_id'] | string + '"}<|/role|>
' }}
    {{- document['text'] }}
    {{- '<|eot|>
'}}
{%- endfor %}
{%- for message in loop_messages %}
    {{- '<|role|>' + message['role'] + '<|/role|>' + (message['content'] or '') | string + '<|eot|>
' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|role|>assistant' }}
        {%- if controls %}
            {{- ' ' + controls | tojson() }}
        {%- endif %}
        {{- '<|/role|>' }}
    {%- endif %}
{%- endfor %}
'''
CODER = r'''{% macro extra_keys(given, known) %}
    {%- if given is mapping %}
        {%- for key in given %}
            {%- if key not in known %}
                {%- if given[key] is mapping or (given[key] is sequence and given[key] is not string) %}
                    {{- '\n<' ~ key ~ '>' ~ (given[key] | tojson | safe) ~ '</' ~ key ~ '>' }}
                {%- else %}
                    {{- '\n<' ~ key ~ '>' ~ (given[key] | string) ~ '</' ~ key ~ '>' }}
                {%- endif %}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{% endmacro %}
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = [] %}{%- endif %}
{%- if system_message is defined %}
    {{- "<|im|>system\n" + system_message }}
{%- elif tools is iterable and tools | length > 0 %}
    {{- "<|im|>system\nYou call functions." }}
{%- endif %}
{%- if tools is iterable and tools | length > 0 %}
    {{- "\n<tools>" }}
    {%- for tool in tools %}
        {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
        {{- "\n<function>\n<name>" ~ tool.name ~ "</name>" }}
        {%- if tool.description is defined %}
            {{- '\n<description>' ~ (tool.description | trim) ~ '</description>' }}
        {%- endif %}
        {{- '\n<parameters>' }}
        {%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is defined and tool.parameters.properties is mapping %}
            {%- for name, fields in tool.parameters.properties|items %}
                {{- '\n<parameter>\n<name>' ~ name ~ '</name>' }}
                {%- if fields.type is defined %}{{- '\n<type>' ~ (fields.type | string) ~ '</type>' }}{%- endif %}
                {{- extra_keys(fields, ['name', 'type', 'description']) }}
                {{- '\n</parameter>' }}
            {%- endfor %}
        {%- endif %}
        {{- extra_keys(tool.parameters, ['type', 'properties']) }}
        {{- '\n</parameters>' }}
        {{- extra_keys(tool, ['type', 'name', 'description', 'parameters']) }}
        {{- '\n</function>' }}
    {%- endfor %}
    {{- "\n</tools>" }}
{%- endif %}
{%- if system_message is defined or (tools is iterable and tools | length > 0) %}{{- '<|/im|>\n' }}{%- endif %}
{%- for message in loop_messages %}
    {%- if message.role == "assistant" and message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
        {{- '<|im|>' + message.role }}
        {%- if message.content is defined and message.content is string and message.content | trim | length > 0 %}
            {{- '\n' + message.content | trim + '\n' }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\n<call>\n<function=' + tool_call.name + '>\n' }}
            {%- if tool_call.arguments is defined %}
                {%- for name, value in tool_call.arguments|items %}
                    {{- '<parameter=' + name + '>\n' }}
                    {%- set value = value | tojson | safe if value is mapping or (value is sequence and value is not string) else value | string %}
                    {{- value }}
                    {{- '\n</parameter>\n' }}
                {%- endfor %}
            {%- endif %}
            {{- '</function>\n</call>' }}
        {%- endfor %}
        {{- '<|/im|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}{{- '<|im|>user' }}{%- endif %}
        {{- '\n<resp>\n' ~ message.content ~ '\n</resp>' }}
        {%- if not loop.last and loop.nextitem.role != "tool" %}
            {{- '<|/im|>\n' }}
        {%- elif loop.last %}
            {{- '<|/im|>\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im|>' + message.role + '\n' ~ message.content + '<|/im|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im|>assistant\n' }}{%- endif %}
'''
COMMAND = r'''{%- set ns = namespace(number=0, results=[]) -%}
{%- macro signature(tool) -%}
def {{ tool.name }}({% for name, fields in tool.parameters.properties.items() %}{{ '%s: %s' % (name, fields.type | default('any')) }}{% if not loop.last %}, {% endif %}{% endfor %}) -> Dict:
    """{{ tool.description | replace('"', "'") | indent(4) }}"""
{%- endmacro -%}
{%- macro section(title, level=2) -%}
{{ '#' * level }} {{ title }}
{{ caller() }}
{%- endmacro -%}
{{ bos_token }}
{%- call section('Preamble') -%}
{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% else %}Nothing set.{% endif %}
{%- endcall %}

{% if tools %}
{% call section("Tools", level=3) %}
{% for tool in tools %}{{ signature(tool.function) }}
{% endfor %}
{% endcall %}
{% endif %}
{%- for message in messages if message.role != 'system' %}
{%- if message.role == 'tool' -%}
{%- set ns.number = ns.number + 1 -%}
{%- set ns.results = ns.results + [message.content] -%}
<result n="{{ '%02d' | format(ns.number) }}" of="{{ '{:>3}/{}'.format(ns.number, messages | selectattr('role', 'eq', 'tool') | list | count) }}">{{ message.content }}</result>
{% elif message.tool_calls -%}
Plan: {{ message.tool_calls | map(attribute='function.name') | join(', ') }}
{{ message.tool_calls | map(attribute='function') | list | tojson(indent=1) }}
{% else -%}
<{{ message.role }}>{{ message.content }}</{{ message.role }}>
{% endif %}
{%- endfor %}
{% if add_generation_prompt %}<assistant>{{ ns.results | length }}{% endif %}'''
GPT_OSS = r'''{%- macro kind(spec) -%}
    {%- if spec.type == "array" -%}
        {%- if spec['items'] and spec['items']['type'] in ("string", "number", "integer", "boolean") -%}
            {{- {"string": "string[]", "number": "number[]", "integer": "number[]"}.get(spec['items']['type'], "boolean[]") }}
        {%- else -%}
            {{- "any[]" }}
        {%- endif -%}
    {%- elif spec.type is iterable and spec.type is not string -%}
        {{- spec.type | join(" | ") }}
    {%- elif spec.enum -%}
        {{- '"' + spec.enum | join('" | "') + '"' }}
    {%- else -%}
        {{- spec.type | default("any", true) }}
    {%- endif -%}
{%- endmacro -%}
{%- macro namespace_of(name, tools) -%}
    {{- "## " + name + "\n\nnamespace " + name + " {\n\n" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {{- "// " + tool.description + "\n" }}
        {%- if tool.parameters and tool.parameters.properties %}
            {{- "type " + tool.name + " = (_: {\n" }}
            {%- for name, spec in tool.parameters.properties.items() %}
                {%- if spec.description %}{{- "// " + spec.description + "\n" }}{%- endif %}
                {{- name }}
                {%- if name not in (tool.parameters.required or []) %}{{- "?" }}{%- endif %}
                {{- ": " + kind(spec) }}
                {%- if spec.default is defined %}
                    {{- ", // default: " + (spec.default if spec.enum else spec.default | tojson) }}
                {%- endif %}
                {{- ",\n" }}
            {%- endfor %}
            {{- "}) => any;\n\n" }}
        {%- else %}
            {{- "type " + tool.name + " = () => any;\n\n" }}
        {%- endif %}
    {%- endfor %}
    {{- "} // namespace " + name }}
{%- endmacro -%}
{%- if messages[0].role in ("developer", "system") %}
    {%- set developer = messages[0].content %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set developer = "" %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- "<|s|>system<|m|>Date: " + strftime_now("%Y-%m-%d")[4] + "\nReasoning: " + (reasoning_effort | default("medium")) + "<|e|>" }}
{%- if developer or tools %}
    {{- "<|s|>developer<|m|>" }}
    {%- if developer %}{{- "# Instructions\n\n" + developer }}{%- endif %}
    {%- if tools %}{{- "\n\n# Tools\n\n" + namespace_of("functions", tools) }}{%- endif %}
    {{- "<|e|>" }}
{%- endif %}
{%- set last_call = namespace(name=none) %}
{%- for message in loop_messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if message.tool_calls %}
            {%- set call = message.tool_calls[0].function if message.tool_calls[0].function else message.tool_calls[0] %}
            {%- if message.content and message.thinking %}
                {{- raise_exception("content and thinking with a call") }}
            {%- endif %}
            {{- "<|s|>assistant to=functions." + call.name + "<|c|>commentary json<|m|>" + call.arguments | tojson + "<|call|>" }}
            {%- set last_call.name = call.name %}
        {%- elif loop.last and not add_generation_prompt %}
            {{- "<|s|>assistant<|c|>final<|m|>" + message.content + "<|return|>" }}
        {%- else %}
            {{- "<|s|>assistant<|c|>final<|m|>" + message.content + "<|e|>" }}
            {%- set last_call.name = none %}
        {%- endif %}
    {%- elif message.role == 'tool' -%}
        {%- if last_call.name is none %}{{- raise_exception("a result without its call") }}{%- endif %}
        {{- "<|s|>functions." + last_call.name + " to=assistant<|c|>commentary<|m|>" + message.content | tojson + "<|e|>" }}
    {%- else -%}
        {{- "<|s|>user<|m|>" + message.content + "<|e|>" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|s|>assistant{%- endif -%}
'''
DEEPSEEK = r'''{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% if not thinking is defined %}{% set thinking = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, system_prompt='', is_first_sp=true, is_last_user=false) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\n\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{%- set ns.is_first = false -%}{%- set ns.is_last_user = true -%}{{ '<|User|>' + message['content'] }}{%- endif %}{%- if message['role'] == 'assistant' and message['tool_calls'] is defined and message['tool_calls'] is not none %}{%- if ns.is_last_user %}{{ '<|Assistant|></think>' }}{%- endif %}{%- set ns.is_last_user = false -%}{%- set ns.is_first = false %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{%- if message['content'] is none %}{{ '<|calls|><|call|>' + tool['function']['name'] + '<|sep|>' + tool['function']['arguments'] | tojson + '<|/call|>' }}{%- else %}{{ message['content'] + '<|calls|><|call|>' + tool['function']['name'] + '<|sep|>' + tool['function']['arguments'] | tojson + '<|/call|>' }}{%- endif %}{%- set ns.is_first = true -%}{%- else %}{{ '<|call|>' + tool['function']['name'] + '<|/call|>' }}{%- endif %}{%- endfor %}{{ '<|/calls|>' + eos_token }}{%- endif %}{%- if message['role'] == 'assistant' and (message['tool_calls'] is not defined or message['tool_calls'] is none) %}{%- if ns.is_last_user %}{{ '<|Assistant|>' }}{%- if message['prefix'] is defined and message['prefix'] and thinking %}{{ '<think>' }}{%- else %}{{ '</think>' }}{%- endif %}{%- endif %}{%- set ns.is_last_user = false -%}{%- if ns.is_tool %}{{ message['content'] + eos_token }}{%- set ns.is_tool = false -%}{%- else %}{%- set content = message['content'] -%}{%- if '</think>' in content %}{%- set content = content.split('</think>', 1)[1] -%}{%- endif %}{{ content + eos_token }}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_last_user = false -%}{%- set ns.is_tool = true -%}{{ '<|out|>' ~ message['content'] + '<|/out|>' if message['content'] is string else '<|out|>?<|/out|>' }}{%- endif %}{%- endfor -%}{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}{{ '<|Assistant|>' }}{%- if not thinking %}{{ '</think>' }}{%- else %}{{ '<think>' }}{%- endif %}{% endif %}'''
GLM = r'''[gMASK]<sop>
{%- if tools -%}
<|system|>
# Tools
{% for tool in tools %}
{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}
{%- endif -%}
{%- macro visible_text(content) -%}
    {%- if content is string -%}
        {{- content }}
    {%- elif content is iterable and content is not mapping -%}
        {%- for item in content -%}
            {%- if item is mapping and item.type == 'text' -%}
                {{- item.text }}
            {%- elif item is string -%}
                {{- item }}
            {%- endif -%}
        {%- endfor -%}
    {%- elif content is none -%}
        {{- '' }}
    {%- else -%}
        {{- content }}
    {%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last_user_index=-1) %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {% set ns.last_user_index = loop.index0 -%}
    {%- endif %}
{%- endfor %}
{% for m in messages %}
{%- if m.role == 'user' -%}<|user|>
{{ visible_text(m.content) }}
{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not visible_text(m.content).endswith("/nothink")) else '' -}}
{%- elif m.role == 'assistant' -%}
<|assistant|>
{%- set reasoning_content = '' %}
{%- set content = visible_text(m.content) %}
{%- if m.reasoning_content is string %}
    {%- set reasoning_content = m.reasoning_content %}
{%- else %}
    {%- if '</think>' in content %}
        {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
{%- endif %}
{%- if loop.index0 > ns.last_user_index and reasoning_content -%}
{{ '\n<think>' + reasoning_content.strip() + '</think>'}}
{%- else -%}
{{ '\n<think></think>' }}
{%- endif -%}
{%- if content.strip() -%}
{{ '\n' + content.strip() }}
{%- endif -%}
{% if m.tool_calls %}
{% for tc in m.tool_calls %}
{%- if tc.function %}
    {%- set tc = tc.function %}
{%- endif %}
{{ '\n<call>' + tc.name }}
{% set _args = tc.arguments %}
{% for k, v in _args.items() %}
<key>{{ k }}</key>
<value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</value>
{% endfor %}
</call>{% endfor %}
{% endif %}
{%- elif m.role == 'tool' -%}
{%- if m.content is string -%}
{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
    {{- '<|observation|>' }}
{%- endif %}
{{- '\n<resp>\n' }}
{{- m.content }}
{{- '\n</resp>' }}
{%- else -%}
<|observation|>{% for tr in m.content %}

<resp>
{{ tr.output if tr.output is defined else tr }}
</resp>{% endfor -%}
{% endif -%}
{%- elif m.role == 'system' -%}
<|system|>
{{ visible_text(m.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    <|assistant|>{{- '\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}
{%- endif -%}
'''
ALL = dict(granite=GRANITE, coder=CODER, command=COMMAND, gpt_oss=GPT_OSS, deepseek=DEEPSEEK, glm=GLM)

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
