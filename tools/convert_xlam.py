#!/usr/bin/env python3
"""Converts xLAM's function-calling data (xlam-function-calling-60k) into kv-exec-bench's six columns.

Usage: convert_xlam.py IN.json OUT.jsonl|OUT.csv [--limit N]
       convert_xlam.py --self-test

IN is a JSON list or JSON lines of {query, tools, answers}; tools and answers may be JSON text, as in the published
file. Questions with exactly one expected call convert. A parameter is required unless its type says "optional" or it
has a default.
"""

import json

import six_columns


def as_json(value):
    return json.loads(value) if isinstance(value, str) else value


def type_schema(text):
    """ "List[int], optional" -> a schema; what is not understood puts no limit on the value."""
    kind = text.split(",")[0].strip() if "[" not in text else text[: text.rfind("]") + 1].strip()
    base, _, inner = kind.partition("[")
    base = base.strip().lower()
    if base == "optional":
        return type_schema(inner[:-1])
    if base not in six_columns.JSON_TYPES:
        return {}
    schema = {"type": six_columns.JSON_TYPES[base]}
    if base in ("list", "array", "set") and inner:
        schema["items"] = type_schema(inner[:-1])
    return schema


def is_optional(entry):
    text = entry.get("type", "")
    return "optional" in text.lower() or "default" in entry


def tool_of(source):
    parameters = source.get("parameters", {})
    if isinstance(parameters.get("properties"), dict):  # already JSON Schema
        schema = six_columns.arguments_schema(
            {name: six_columns.json_schema(entry) for name, entry in parameters["properties"].items()},
            parameters.get("required", []))
    else:
        properties = {}
        for name, entry in parameters.items():
            properties[name] = type_schema(entry.get("type", ""))
            if entry.get("description"):
                properties[name]["description"] = entry["description"]
        required = [name for name, entry in parameters.items() if not is_optional(entry)]
        schema = six_columns.arguments_schema(properties, required)
    return {"name": source["name"], "description": source.get("description", ""), "parameters": schema}


def convert(item):
    answers = as_json(item["answers"])
    if len(answers) != 1:
        raise ValueError("not exactly one expected call")
    tools = [tool_of(tool) for tool in as_json(item["tools"])]
    return six_columns.row(tools, item["query"], answers[0]["name"], answers[0]["arguments"])


def self_test():
    item = {
        "query": "Rain in Pisa?",
        "tools": json.dumps([{"name": "rain", "description": "Rain.", "parameters": {
            "city": {"type": "str", "description": "City."}, "days": {"type": "List[int], optional"},
            "unit": {"type": "str", "default": "mm"}, "odd": {"type": "Callable[[int], str], optional"},
            "deep": {"type": "Optional[List[List[float]]]"}}}]),
        "answers": json.dumps([{"name": "rain", "arguments": {"city": "Pisa"}}]),
    }
    row = convert(item)
    schema = json.loads(row["answer"])["schema"]
    assert schema["required"] == ["city"], schema
    assert schema["properties"]["days"] == {"type": "array", "items": {"type": "integer"}}, schema
    assert schema["properties"]["odd"] == {}, schema
    assert schema["properties"]["deep"]["items"]["items"] == {"type": "number"}, schema
    assert schema["properties"]["city"] == {"type": "string", "description": "City."}, schema
    for answers in ([], [{"name": "snow", "arguments": {}}], [{"name": "rain", "arguments": {}}]):
        try:
            convert({**item, "answers": answers})
        except ValueError:
            continue
        raise AssertionError(f"accepted {answers}")
    print("convert_xlam: ok")


if __name__ == "__main__":
    six_columns.run_converter("convert_xlam", __doc__, convert, self_test)
