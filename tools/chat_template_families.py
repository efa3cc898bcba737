"""Chat templates of our own, each with the constructs and the order of turns that a public family of models needs.

SHEET: built-in tools, dates and slices of the messages, as for Llama 3. TALK: the messages backwards and reasoning, as
for Qwen3. LETTERS: roles that must alternate and calls with ids, as for Mistral. LINES: strings over several lines, as
for Phi-3. STAGE: parts of content, as for Gemma 3. FORM: dates, lists of tools in two notations and generation blocks,
as for SmolLM3. SHAPES: types of tools by a macro that calls itself. Texts and marks are made up.
"""
SHEET = r'''{%- if more_tools is defined and more_tools %}{%- set tools = more_tools %}{%- endif %}
{%- set listing %}
    {%- for tool in tools or [] %}{{- loop.index ~ '. ' }}{{- tool | tojson(indent=4) }}{{- '\n' }}{%- endfor %}
{%- endset %}
{%- set rules = "" %}
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content'] %}
    {%- set rules = first | trim if first is string else first[0]['text'] %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- if today is not defined %}
    {%- set today = strftime_now("%d %b %Y") | length if strftime_now is defined else 'unknown' %}
{%- endif %}
{{- bos_token + 'SHEET of day ' ~ today ~ '\n' + rules }}
{%- if native is defined %}{{- '\nAt hand: ' + native | reject('equalto', 'code') | join(", ") }}{%- endif %}
{%- if not tools is none and not messages | length != 0 %}
    {{- raise_exception("nobody asks for the tools") }}
{%- endif %}
{%- set late = tools_first is defined and not tools_first %}
{%- if tools is not none and not late %}{{- '\nTools:\n' + listing -}}{%- endif %}
{%- for turn in messages %}
    {{- '\n[' + turn['role'] + '] ' }}
    {%- if 'tool_calls' in turn %}
        {%- set call = turn.tool_calls[0].function %}
        {%- if not turn.tool_calls | length == 1 %}
            {{- raise_exception("more than one call on a line of the sheet") }}
        {%- elif native is defined and call.name in native %}
            {%- for key, value in call.arguments | items %}
                {{- call.name + ' with ' if loop.first }}{{- key + ': ' ~ value }}
                {%- if not loop.last %}{{- "; " }}{%- endif %}
            {%- endfor %}
        {%- else %}
            {{- {'use': call.name, 'given': call.arguments} | tojson }}
        {%- endif %}
    {%- elif not (turn.role == 'tool' or turn.role == 'ipython') %}
        {{- turn['content'] | trim }}
    {%- else %}
        {%- set found = turn.content %}
        {{- found if found is string or not (found is iterable or found is mapping) else found | tojson }}
    {%- endif %}
{%- endfor %}
{%- if late and tools is not none %}{{- '\nTools, last of all:\n' + listing }}{%- endif %}
{%- if add_generation_prompt %}{{- '\n[assistant] ' }}{%- endif %}
'''
TALK = r'''{%- set mark = namespace(asked=messages | length - 1, open=false) %}
{%- for turn in messages[::-1] %}
    {%- set plain = turn.role == 'user' and turn.content is string %}
    {%- if plain and not (turn.content.startswith('(') and turn.content.endswith(')')) and not mark.open %}
        {%- set mark.open = true %}
        {%- set mark.asked = mark.asked - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for turn in messages %}
    {%- set said = turn.content if turn.content is string else '' %}
    {%- if turn.role == "tool" %}
        {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}{{- 'results' }}{%- endif %}
        {{- '\n * ' + said }}
        {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}{{- '\n.\n' }}{%- endif %}
        {%- continue %}
    {%- endif %}
    {{- turn.role + ' says\n' }}
    {%- if turn.role == "assistant" %}
        {%- set thought = '' %}
        {%- if '</think>' in said %}
            {%- set halves = said.split('</think>') %}
            {%- set said = halves[-1].lstrip('\n') %}
            {%- set thought = halves[0].split('<think>')[-1].rstrip('\n') %}
        {%- elif turn.reasoning is string %}
            {%- set thought = turn.reasoning %}
        {%- endif %}
        {%- if loop.index0 > mark.asked and (thought or loop.last) %}
            {{- '~ ' + thought.strip('\n') + ' ~\n' }}
        {%- endif %}
    {%- endif %}
    {{- said }}
    {%- for call in turn.tool_calls or [] %}
        {%- if call.function %}{%- set call = call.function %}{%- endif %}
        {%- if said or not loop.first %}{{- '\n' }}{%- endif %}
        {{- '-> ' + call.name + ' ' + (call.arguments if call.arguments is string else call.arguments | tojson) }}
    {%- endfor %}
    {{- '\n.\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'assistant says\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '~  ~\n' }}{%- endif %}
{%- endif %}'''
LETTERS = r'''{%- if messages[0]["role"] == "system" %}{%- set heading = messages[0]["content"] %}{%- endif %}
{%- set letters = messages[1:] if heading is defined else messages[:] %}
{%- set asked = letters | selectattr("role", "equalto", "user") | list %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set post = namespace() %}
{%- set post.sent = 0 %}
{{- bos_token }}
{%- for letter in letters %}
    {%- if letter.tool_calls is defined and letter.tool_calls is not none %}
        {%- for order in letter.tool_calls %}
            {%- set form = order.function | tojson %}
            {{- "Order " }}
            {%- if not order.id is defined or order.id | length != 9 %}
                {{- "(no number)" }}
            {%- else %}
                {{- order.id }}
            {%- endif %}
            {{- ": " + form[:-1] + ', "copies": 1}' }}
            {%- if not loop.last %}{{- " and " }}{%- else %}{{- ".\n" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif letter["role"] == "tool" or letter["role"] == "parcel" %}
        {%- set inside = letter.content %}
        {%- if inside is defined and inside.content is defined %}{%- set inside = inside.content %}{%- endif %}
        {{- 'Parcel: ' + inside | string + "\n" }}
    {%- elif not (letter["role"] == "user" or letter["role"] == "assistant") %}
        {{- raise_exception("no such sender: " + letter["role"]) }}
    {%- elif (post.sent % 2 == 1) != (letter["role"] == "assistant") %}
        {{- raise_exception("a letter before the answer to the last one") }}
    {%- else %}
        {%- set post.sent = post.sent + 1 %}
        {%- if tools is not none and letter == asked[-1] %}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- "Offer " + ("%d of %d" % (loop.index, tools | length) if tools | length > 1 else "") }}
                {%- for key, value in tool.items() if key != "return" %}
                    {{- '\n  ' + key + ' ' + (value if value is string else value | tojson) }}
                    {%- if not loop.last %}{{- "," }}{%- endif %}
                {%- endfor %}
                {{- "\n" }}
            {%- endfor %}
        {%- endif %}
        {%- if heading is defined and loop.last %}{{- "About: " + heading + "\n" }}{%- endif %}
        {%- if letter["role"] == "assistant" %}
            {{- "Dear user, " + letter["content"] | trim + "\n" + eos_token }}
        {%- else %}
            {{- "Dear model, " + letter["content"] + "\n" }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
'''
LINES = r'''{% set marks = {'assistant': '! ', 'system': '# ', 'user': '? '} %}{% for line in messages %}
{% if line['role'] == 'system' and 'tools' in line and line['tools'] is not none %}{{ '# ' + line['tools'] + '
# ' + line['content'] }}{% elif line['role'] in marks %}{{ marks[line['role']] + line['content'] + '
' }}{% endif %}{% endfor %}{% if not add_generation_prompt %}{{ eos_token }}{% else %}{{ '!
' }}{% endif %}'''
STAGE = r'''{%- set shift = 1 if messages[0]['role'] == 'system' else 0 -%}
{{ bos_token + 'Curtain.
' }}
{%- for act in messages[shift:] -%}
    {%- if (loop.index0 % 2 == 0) != (act['role'] == 'user') -%}
        {{ raise_exception("two entrances of " + act['role']) }}
    {%- endif -%}
    {%- set who = "PLAYER" -%}
    {%- if act['role'] == 'user' -%}
        {%- set who = act['role'].upper() -%}
    {%- endif -%}
    {{ who + '.
' }}
    {%- if loop.first and shift -%}
        {%- set aside = messages[0]['content'] -%}
        {{ '(Aside: ' + (aside if aside is string else aside[0]['text']) + ')
' }}
    {%- endif -%}
    {%- if act['content'] is iterable and act['content'] is not string -%}
        {%- for part in act['content'] -%}
            {%- if part['type'] == 'text' -%}
                {{ part['text'] | trim }}
            {%- elif part['type'] == 'image' -%}
                {{ '(a picture is shown)' }}
            {%- endif -%}
        {%- endfor -%}
    {%- elif act['content'] is string -%}
        {{ act['content'] | trim }}
    {%- else -%}
        {{ raise_exception("nothing to say") }}
    {%- endif -%}
    {{ '
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ 'PLAYER.
' }}
{%- else -%}
    Curtain.
{%- endif -%}
'''
FORM = r'''{# ─── the parts of the form ─── #}
{%- macro inventory(items, style) -%}
  {%- if style == "names" -%}
    {%- for item in items -%}
{{ item.function.name }} of {{ item.function.parameters.properties | dictsort | map('first') | join(', ') }}
{{- " + " if not loop.last }}
    {%- endfor -%}
  {%- else -%}
    {%- set rows = namespace(text="") -%}
    {%- for item in items or [] -%}
      {%- set rows.text = rows.text ~ "| " ~ (item | string | length > 0) ~ " |\n" -%}
    {%- endfor -%}
    {{- rows.text + "(end)" -}}
  {%- endif -%}
{%- endmacro -%}
{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- set pace = "slow" if enable_thinking else "fast" -%}
{%- set remark = "" -%}
{%- if messages[0].role == "system" -%}
  {%- set remark = messages[0].content.replace("!fast", "").replace("!slow", "").rstrip() -%}
  {%- if "!slow" in messages[0].content -%}
    {%- set pace = "slow" -%}
  {%- elif "!fast" in messages[0].content -%}
    {%- set pace = "fast" -%}
  {%- endif -%}
{%- endif -%}
FORM {{ strftime_now("%Y-%m-%d") | length }}/{{ strftime_now("%d %B %Y").split(' ') | length }}
pace: {{ pace }}

{% if not remark -%}
{% if pace == "fast" %}No remarks, no delay.{% else %}No remarks.{% endif %}
{%- else -%}
remarks: {{ remark }}
{%- endif %}
{% if tools or rows_of_tools %}
inventory
{{ inventory(rows_of_tools or tools, style="rows") }}
{% if tools %}{{ inventory(tools, "names") }}{% endif %}
{%- endif %}
{%- for entry in messages -%}
  {%- set written = entry.content if entry.content is string else "" -%}
  {%- if entry.role == "assistant" -%}
    {%- generation -%}
      {%- if pace == "fast" -%}
{{ "\nreply, at once: " + written.lstrip("\n") }}
      {%- else -%}
{{ "\nreply: " + written.lstrip("\n") }}
      {%- endif -%}
    {%- endgeneration -%}
  {%- elif entry.role == "tool" or entry.role == "user" -%}
{{ "\n" + {"tool": "annex", "user": "request"}[entry.role] + ": " + written }}
  {%- endif -%}
{%- endfor -%}
{% if add_generation_prompt %}{{ "\nreply: " }}{% endif %}
'''
SHAPES = r'''{%- macro shape(of, needed, inside=false) -%}
    {%- if of.oneOf -%}
        {%- for way in of.oneOf -%}
            {{- shape(way, needed) -}}
            {%- if way.default is defined %}{{ " or else " + way.default | tojson }}{%- endif -%}
            {%- if way.description %}{{- " <" + way.description + ">" }}{%- endif -%}
            {%- if not loop.last %}{{- " / " }}{% endif -%}
        {%- endfor -%}
    {%- elif of.type == "object" and of.properties -%}
        {{- "record" + (" (" if inside else ":\n  ") }}
        {%- set sure = of.required or [] -%}
        {%- for key, part in of.properties.items() -%}
            {{- key ~ ("" if key in sure else " if known") -}}
            {{-" = " }}{{ shape(part, sure, inside=true) }}
            {%- if not loop.last -%}{{- ";\n  " }}{%- endif -%}
        {%- endfor -%}
        {{- ")" if inside }}
    {%- elif of.type == "array" -%}
        {%- if not of['items'] -%}
            {{- "row" }}
        {%- elif of['items']['type'] in ("string", "number") -%}
            {{- "row of " + of['items']['type'] + "s" }}
        {%- else -%}
            {%- set part = shape(of['items'], needed, true) -%}
            {{- "row of " }}
            {%- if part == "record" or part | length > 50 -%}{{- "things" }}{%- else -%}{{- part }}{%- endif -%}
        {%- endif -%}
    {%- elif of.type is defined and of.type is iterable and of.type is not mapping and of.type is not string and
             of.type[0] is defined -%}
        {{- of.type | join(" or ") }}
    {%- else -%}
        {{- of.type | default("thing") if not of.enum else 'one of "' ~ of.enum | join('", "') ~ '"' -}}
        {%- if of.nullable %}{{- " or nothing" }}{%- endif -%}
    {%- endif -%}
{%- endmacro -%}
{%- for tool in tools or [] %}
{%- set tool = tool.function %}
To {{ tool.name }} ({{ tool.description }}), hand over a {{ shape(tool.parameters, []) }}.
{%- endfor %}
'''
ALL = dict(sheet=SHEET, talk=TALK, letters=LETTERS, lines=LINES, stage=STAGE, form=FORM, shapes=SHAPES)
