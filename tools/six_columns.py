"""Rows in kv-exec-bench's six columns, for the converters beside this file."""

import argparse
import csv
import json
import sys

COLUMNS = ("context", "question", "answer_prefix", "answer", "task", "max_new_tokens")

HEADER = (
    "You answer requests by calling one of the tools below. Reply with exactly one JSON object of the form "
    '{"name": <tool>, "arguments": {<argument>: <value>, ...}} and with no other text.\n\nTools:\n'
)

# What the sources call their types; whatever is not listed puts no limit on a value.
JSON_TYPES = {
    "dict": "object", "object": "object", "map": "object", "hashmap": "object",
    "list": "array", "array": "array", "tuple": "array", "set": "array", "arraylist": "array",
    "str": "string", "string": "string", "char": "string",
    "int": "integer", "integer": "integer", "long": "integer",
    "float": "number", "double": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean",
}

# Keywords that limit a value and that `kvengine` knows; all others (default, format, ...) only describe.
KEPT_AS_IS = ("enum", "const", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "description")


def catalog(tools):
    """The shared context: tools is a list of {name, description, parameters}."""
    parts = [HEADER]
    for number, tool in enumerate(tools, 1):
        schema = json.dumps(tool["parameters"])
        parts.append(f"{number}. {tool['name']} \u2014 {tool['description']}\n   parameters (JSON Schema): {schema}\n")
    return "".join(parts)


def json_schema(source):
    """A schema with JSON Schema's own type names, from one that uses Python's or Java's."""
    result = {}
    kind = source.get("type")
    if isinstance(kind, str) and kind.lower() in JSON_TYPES:
        result["type"] = JSON_TYPES[kind.lower()]
    for key in KEPT_AS_IS:
        if key in source and not (key == "enum" and not source[key]):
            result[key] = source[key]
    if isinstance(source.get("properties"), dict):
        result["properties"] = {name: json_schema(entry) for name, entry in source["properties"].items()}
    if isinstance(source.get("required"), list):
        result["required"] = source["required"]
    if isinstance(source.get("items"), dict):
        result["items"] = json_schema(source["items"])
    return result


def arguments_schema(properties, required):
    """The schema of a tool's arguments; unknown arguments are errors, as in kv-exec-bench."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def row(tools, request, name, arguments, task="tool_call", max_new_tokens=128):
    """One row; the gold call is checked against its tool so that a wrong conversion does not go unseen."""
    schema = next((tool["parameters"] for tool in tools if tool["name"] == name), None)
    if schema is None:
        raise ValueError(f"the expected call names '{name}', which is not among its tools")
    missing = [key for key in schema.get("required", []) if key not in arguments]
    unknown = [key for key in arguments if key not in schema.get("properties", {})]
    if missing or unknown:
        raise ValueError(f"the expected call of '{name}' lacks {missing} and has unknown {unknown}")
    return {
        "context": catalog(tools),
        "question": f"\nUser request: {request}\n",
        "answer_prefix": "",
        "answer": json.dumps({"name": name, "arguments": arguments, "schema": schema}),
        "task": task,
        "max_new_tokens": max_new_tokens,
    }


def write(rows, path):
    """JSON lines, or CSV where the name ends so."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        if path.endswith(".csv"):
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        else:
            for one in rows:
                file.write(json.dumps(one, ensure_ascii=False) + "\n")


def convert_all(items, convert, what):
    """convert(item) gives a row, or raises ValueError for one that the six columns cannot express."""
    rows, left_out = [], {}
    for item in items:
        try:
            rows.append(convert(item))
        except ValueError as error:
            reason = str(error)
            left_out.setdefault(reason, 0)
            left_out[reason] += 1
    for reason, count in sorted(left_out.items(), key=lambda entry: -entry[1])[:10]:
        print(f"{what}: left out {count}: {reason}", file=sys.stderr)
    print(f"{what}: {len(rows)} rows, {sum(left_out.values())} left out", file=sys.stderr)
    return rows


def load_lines(path):
    """A JSON list, or JSON lines."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.lstrip().startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def run_converter(name, doc, convert, self_test):
    """The command line of a converter of one item at a time: IN OUT [--limit N], or --self-test."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    if not arguments.out:
        parser.error("IN and OUT are needed")
    items = load_lines(arguments.source)[: arguments.limit]
    write(convert_all(items, convert, name), arguments.out)
