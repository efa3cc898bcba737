#!/usr/bin/env python3
"""Converts ToolACE's conversations into kv-exec-bench's six columns.

Usage: convert_toolace.py IN.json OUT.jsonl|OUT.csv [--limit N]
       convert_toolace.py --self-test

IN is a JSON list or JSON lines of {system, conversations: [{from, value}, ...]}. The system text holds the tools as a
JSON list; the first answer is read as calls [name(key=value, ...)] with Python literals as values. Conversations whose
first answer is exactly one call convert.
"""

import ast
import json

import six_columns


def tools_in(system):
    """The first JSON list of maps in the text."""
    decoder = json.JSONDecoder()
    at = system.find("[")
    while at >= 0:
        try:
            found, _ = decoder.raw_decode(system[at:])
        except ValueError:
            found = None
        if isinstance(found, list) and found and all(isinstance(tool, dict) and "name" in tool for tool in found):
            return found
        at = system.find("[", at + 1)
    raise ValueError("no list of tools in the system text")


def split_outside(text, separator):
    """Parts of a text between separators that are in no bracket and no string."""
    parts, depth, quote, begin, i = [], 0, "", 0, 0
    while i < len(text):
        c = text[i]
        if quote:
            if c == "\\":
                i += 1
            elif c == quote:
                quote = ""
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == separator and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
        i += 1
    return [part.strip() for part in parts + [text[begin:]] if part.strip()]


def literal(text):
    """A Python or JSON literal."""
    try:
        value = ast.literal_eval(text)
        json.dumps(value)
        return value
    except (ValueError, SyntaxError, TypeError):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError("an argument is no literal") from None


def call_in(answer):
    """ "[name(a=1, b='x')]" -> name, arguments. Names may hold spaces and slashes, so this is no Python expression."""
    text = answer.strip()
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("the first answer is no call")
    calls = split_outside(text[1:-1], ",")
    if len(calls) != 1:
        raise ValueError("not exactly one expected call")
    name, bracket, rest = calls[0].partition("(")
    if not bracket or not rest.endswith(")"):
        raise ValueError("the first answer is no call")
    arguments = {}
    for part in split_outside(rest[:-1], ","):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError("an argument without a name")
        arguments[key.strip()] = literal(value.strip())
    return name.strip(), arguments


def tool_of(source):
    parameters = source.get("parameters") or {}
    properties = parameters.get("properties") or {}
    required = parameters.get("required") or source.get("required") or []
    schema = six_columns.arguments_schema(
        {name: six_columns.json_schema(entry) for name, entry in properties.items()}, required)
    return {"name": source["name"], "description": source.get("description", ""), "parameters": schema}


def convert(item):
    turns = item["conversations"]
    if len(turns) < 2 or turns[0]["from"] != "user" or turns[1]["from"] != "assistant":
        raise ValueError("does not begin with a question and an answer")
    name, arguments = call_in(turns[1]["value"])
    tools = [tool_of(tool) for tool in tools_in(item["system"])]
    return six_columns.row(tools, turns[0]["value"], name, arguments)


def self_test():
    system = 'Use [x] these: [{"name": "Get/Rain v2", "description": "Rain.", "parameters": {"type": "dict", ' \
             '"properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "int"}}, ' \
             '"deep": {"type": "dict"}}, "required": ["city"]}, "required": null}] Good luck.'
    turns = [{"from": "user", "value": "Rain in Pisa?"},
             {"from": "assistant", "value": "[Get/Rain v2(city=\"Pisa, (IT)\", days=[1, 2], deep={'a': True})]"}]
    row = convert({"system": system, "conversations": turns})
    gold = json.loads(row["answer"])
    assert gold["name"] == "Get/Rain v2", gold
    assert gold["arguments"] == {"city": "Pisa, (IT)", "days": [1, 2], "deep": {"a": True}}, gold
    assert gold["schema"]["properties"]["days"] == {"type": "array", "items": {"type": "integer"}}, gold
    for answer in ("Sorry.", "[a(x=1), b(y=2)]", "[Get/Rain v2(days=[1])]", "[Get/Rain v2(city=Pisa)]", "[None]"):
        try:
            convert({"system": system, "conversations": [turns[0], {"from": "assistant", "value": answer}]})
        except ValueError:
            continue
        raise AssertionError(f"accepted {answer}")
    print("convert_toolace: ok")


if __name__ == "__main__":
    six_columns.run_converter("convert_toolace", __doc__, convert, self_test)
