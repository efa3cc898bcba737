"""Compare `kvengine tokenize --chat` with transformers on a model's own chat template.

  check_chat_template.py --kvengine build/kvengine --model X.gguf [--model DIR ...]

The template, bos and eos come from the file's metadata, or from a folder's chat_template.jinja and
tokenizer_config.json. Conversations of one and several turns, with and without a system message, tools, thinking, parts
and the generation prompt go through both; where transformers refuses, so must we. Prints the first differences; exit
status 1 where there is one. Needs the Python packages transformers and gguf.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from gguf import GGUFReader
from make_chat_template_golden import CALLS, DOCUMENTS, MESSAGES, PARTS, RICH_TOOLS, TOOL_MESSAGES, TOOLS
from transformers.utils.chat_template_utils import render_jinja_template

LONG = [dict(role="system", content="Be brief.")] + [
    dict(role=role, content=f"{role} {i}: {text}") for i in range(6)
    for role, text in (("user", "  what?\n\n"), ("assistant", "<think>\nhm é\n</think>\n\nthat 😀"))]
CONVERSATIONS = [MESSAGES, MESSAGES[1:], MESSAGES[1:2], MESSAGES[:1], MESSAGES[:2], LONG, LONG[1:], LONG[:-1], LONG[2:],
                 PARTS, CALLS, TOOL_MESSAGES, [dict(role="user", content="")],
                 [dict(role="user", content="<start_of_turn>\t ")],
                 [dict(role="user", content="a"), dict(role="user", content="b")], []]
EXTRAS = [{}, dict(tools=TOOLS), dict(tools=RICH_TOOLS, enable_thinking=False), dict(documents=DOCUMENTS)]


def metadata(path):
    """The template and the special tokens that it may write."""
    if pathlib.Path(path).is_dir():
        config = json.loads(pathlib.Path(path, "tokenizer_config.json").read_text())
        names = {name: config[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token") if name in config}
        return pathlib.Path(path, "chat_template.jinja").read_text(), names
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"]
    names = {}
    for name in ("bos", "eos"):
        if (field := fields.get(f"tokenizer.ggml.{name}_token_id")) is not None:
            names[f"{name}_token"] = bytes(tokens.parts[tokens.data[int(field.parts[field.data[0]][0])]]).decode()
    template = fields["tokenizer.chat_template"]
    return bytes(template.parts[template.data[0]]).decode(), names


def expected_text(template, names, case):
    case = dict(case)
    messages = case.pop("messages")
    arguments = {**names, **case, "tools": case.get("tools"), "documents": case.get("documents")}
    try:
        return render_jinja_template([messages], chat_template=template, **arguments)[0][0]
    except Exception:
        return None


def our_texts(kvengine, model, cases):
    """The texts of all cases in one call; None where one of them is refused with status 3."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write("".join(json.dumps(case) + "\n" for case in cases))
        file.flush()
        command = [kvengine, "tokenize", "--model", model, "--chat", "--lines", "--file", file.name]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode == 3:
        return None
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    return [json.loads(line)["text"] for line in done.stdout.decode().split("\n") if line]


def compare(kvengine, model, cases, expected):
    """How many cases differ."""
    fine = [i for i, text in enumerate(expected) if text is not None]
    together = our_texts(kvengine, model, [cases[i] for i in fine])
    ours = dict(zip(fine, together)) if together else {}
    differ = 0
    for i, (case, theirs) in enumerate(zip(cases, expected)):
        mine = ours[i] if i in ours else (our_texts(kvengine, model, [case]) or [None])[0]
        if mine == theirs:
            continue
        differ += 1
        if differ <= 5:
            print(f"{model}: {json.dumps(case)[:200]}\n  ours     {mine!r}\n  expected {theirs!r}")
    return differ


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvengine", required=True)
    parser.add_argument("--model", action="append", required=True)
    args = parser.parse_args()
    wrong = 0
    for model in args.model:
        template, names = metadata(model)
        cases = [dict(messages=messages, add_generation_prompt=prompt, **extra) for messages in CONVERSATIONS
                 for prompt in (False, True) for extra in EXTRAS]
        expected = [expected_text(template, names, case) for case in cases]
        differ = compare(args.kvengine, model, cases, expected)
        wrong += differ
        print(f"{model}: {len(cases)} conversations, {sum(text is None for text in expected)} of them refused by the "
              f"template, {differ} differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
