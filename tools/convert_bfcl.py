#!/usr/bin/env python3
"""Converts the Berkeley Function Calling Leaderboard's questions into kv-exec-bench's six columns.

Usage: convert_bfcl.py OUT.jsonl|OUT.csv [--category simple] [--data FOLDER] [--limit N]
       convert_bfcl.py --self-test

The data are in the PyPI package bfcl-eval (pip install --no-deps bfcl-eval); --data names another folder with
BFCL_v*_CATEGORY.json and possible_answer/. Categories with one call for each question convert: simple (the Python
questions), multiple, live_simple, live_multiple, simple_java, simple_javascript.

BFCL accepts several values for an argument; the first of them becomes the expected one and an argument that may be
missing is left out, so args_exact is stricter than BFCL's own score. Types become JSON Schema's; a number is accepted
where an integer is one of BFCL's floats.
"""

import argparse
import glob
import importlib.util
import json
import os
import sys

import six_columns


def data_folder():
    """Where the installed package keeps its data; it is not imported, since it needs much else."""
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("convert_bfcl: the package bfcl-eval is not installed; pip install --no-deps bfcl-eval, or give --data")
    return os.path.join(list(spec.submodule_search_locations)[0], "data")


def files(folder, category):
    name = "simple_python" if category == "simple" else category
    for pattern in (f"BFCL_v[0-9]_{name}.json", f"BFCL_v[0-9]_{category}.json"):
        found = sorted(glob.glob(os.path.join(folder, pattern)))
        if found:
            answers = os.path.join(folder, "possible_answer", os.path.basename(found[-1]))
            return found[-1], answers
    sys.exit(f"convert_bfcl: {folder}: no file BFCL_v*_{name}.json")


def first_accepted(accepted):
    """The first of a list of accepted values. A map lists accepted values for each of its own keys again, at the first
    level or at every one; "" says that a key may be missing."""
    if not isinstance(accepted, list):
        return first_accepted([accepted])
    value = accepted[0]
    if isinstance(value, dict):
        return {key: first_accepted(given) for key, given in value.items()
                if given != [] and not (isinstance(given, list) and "" in given)}
    if isinstance(value, list):
        return [first_accepted([item]) for item in value]
    return value


def arguments_of(truth, schema):
    arguments = {}
    for key, accepted in truth.items():
        optional = "" in accepted and key not in schema["required"]
        if not accepted or optional:
            continue
        arguments[key] = first_accepted(accepted)
    return arguments


def tool_of(function):
    parameters = function["parameters"]
    schema = six_columns.arguments_schema(
        {name: six_columns.json_schema(entry) for name, entry in parameters.get("properties", {}).items()},
        parameters.get("required", []))
    return {"name": function["name"], "description": function["description"], "parameters": schema}


def convert(question, answer):
    turns = question["question"]
    if len(turns) != 1:
        raise ValueError("more than one turn")
    request = "\n".join(message["content"] for message in turns[0])
    calls = answer["ground_truth"]
    if len(calls) != 1 or len(calls[0]) != 1:
        raise ValueError("more than one expected call")
    (name, truth), = calls[0].items()
    tools = [tool_of(function) for function in question["function"]]
    schema = next((tool["parameters"] for tool in tools if tool["name"] == name), None)
    if schema is None:
        raise ValueError("the expected call names no tool of the question")
    return six_columns.row(tools, request, name, arguments_of(truth, schema))


def self_test():
    question = {
        "id": "x_0",
        "question": [[{"role": "user", "content": "Area of 3 by 4?"}]],
        "function": [{"name": "geo.area", "description": "Area.", "parameters": {
            "type": "dict", "required": ["a"], "properties": {
                "a": {"type": "integer", "description": "Side."}, "b": {"type": "float", "default": 1.0},
                "tags": {"type": "array", "items": {"type": "dict"}}, "o": {"type": "dict"}, "any": {"type": "any"}}}}],
    }
    answer = {"ground_truth": [{"geo.area": {
        "a": [3, 4], "b": ["", 2.5], "tags": [[{"k": ["v", "w"]}]], "o": [{"x": [1], "y": ["", 2], "z": 0.5}]}}]}
    row = convert(question, answer)
    gold = json.loads(row["answer"])
    assert tuple(row) == six_columns.COLUMNS, row
    assert gold["name"] == "geo.area", gold
    assert gold["arguments"] == {"a": 3, "tags": [{"k": "v"}], "o": {"x": 1, "z": 0.5}}, gold
    properties = gold["schema"]["properties"]
    assert properties["b"] == {"type": "number"} and properties["any"] == {}, gold
    assert properties["tags"] == {"type": "array", "items": {"type": "object"}}, gold
    assert gold["schema"]["additionalProperties"] is False, gold
    assert row["question"] == "\nUser request: Area of 3 by 4?\n", row
    for bad in ({"ground_truth": [{"geo.area": {}}, {"geo.area": {}}]}, {"ground_truth": [{"other": {}}]}):
        try:
            convert(question, bad)
        except ValueError:
            continue
        raise AssertionError(f"accepted {bad}")
    print("convert_bfcl: ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?")
    parser.add_argument("--category", default="simple")
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    if not arguments.out:
        parser.error("OUT is missing")
    questions, answers = files(arguments.data or data_folder(), arguments.category)
    truth = {item["id"]: item for item in six_columns.load_lines(answers)}
    items = six_columns.load_lines(questions)[: arguments.limit]
    rows = six_columns.convert_all(items, lambda item: convert(item, truth[item["id"]]), "convert_bfcl")
    six_columns.write(rows, arguments.out)


if __name__ == "__main__":
    main()
