#!/usr/bin/env python3
"""Turns MBPP into HumanEval's form: a function's head with a docstring that the model completes.

Usage: convert_mbpp.py mbpp.jsonl|sanitized-mbpp.json OUT.jsonl

Input: MBPP's rows (task_id, text or prompt, code, test_list, test_setup_code or test_imports), one for each line or as
one JSON list. `kvengine` reads such files as they are (task code_exec); the converted form asks for the body of a
function instead of a whole program. Rows that do not fit that form (no function of the tests' name, code after it) are
left out and counted on stderr.
"""

import ast
import json
import re
import sys


def read_rows(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.lstrip().startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def indented(text, columns=4):
    return "".join(" " * columns + line if line.strip() else line for line in text.splitlines(True))


def tested_function(tree, test):
    """The last function of the program that the test calls."""
    names = set(re.findall(r"(\w+)\s*\(", test))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    return found[-1] if found else None


def convert(row):
    """One row in HumanEval's form; ValueError where it has none."""
    code = row["code"].replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    tree = ast.parse(code)
    function = tested_function(tree, row["test_list"][0])
    if function is None:
        raise ValueError("no function that the tests call")
    if tree.body[-1] is not function or function.decorator_list:
        raise ValueError("code after the function, or a decorator")
    lines = code.splitlines(True)
    if function.body[0].lineno == function.lineno:
        raise ValueError("the body starts on the line of its head")
    before, head = lines[: function.lineno - 1], lines[function.lineno - 1 : function.body[0].lineno - 1]
    body = lines[function.body[0].lineno - 1 : function.end_lineno]
    width = function.body[0].col_offset
    if any(line.strip() and not line.startswith(" " * width) for line in body):
        raise ValueError("lines left of the body's column")
    head = [line for line in head if line.strip() and not line.lstrip().startswith("#")]
    setup = "\n".join([row.get("test_setup_code") or "", *row.get("test_imports", [])]).strip()
    description = (row.get("text") or row["prompt"]).strip().replace("\\", "\\\\").replace('"""', "'''")
    docstring = '"""' + description + "\n" + "".join(
        ">>> " + test.strip().replace("\\", "\\\\").replace('"""', "'''") + "\n" for test in row["test_list"]
    ) + '"""\n'
    checks = "".join(indented(test.rstrip() + "\n") for test in row["test_list"])
    result = {
        "task_id": f"MBPP/{row['task_id']}",
        "prompt": (setup + "\n\n" if setup else "") + "".join(before) + "".join(head) + indented(docstring, width),
        "entry_point": function.name,
        "canonical_solution": "".join(body).rstrip("\n") + "\n",
        "test": "def check(candidate):\n" + checks,
    }
    compile(result["prompt"] + result["canonical_solution"] + result["test"], result["task_id"], "exec")
    return result


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    kept, left_out = [], {}
    for row in read_rows(sys.argv[1]):
        try:
            kept.append(convert(row))
        except (ValueError, SyntaxError) as error:
            reason = "its code is not valid Python" if isinstance(error, SyntaxError) else str(error)
            left_out.setdefault(reason, []).append(row["task_id"])
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        for row in kept:
            out.write(json.dumps(row) + "\n")
    print(f"{len(kept)} problems in {sys.argv[2]}", file=sys.stderr)
    for reason, ids in left_out.items():
        print(f"left out {len(ids)} ({reason}): {ids[:10]}{'…' if len(ids) > 10 else ''}", file=sys.stderr)


if __name__ == "__main__":
    main()
