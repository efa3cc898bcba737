"""Write engine/tokenizer/unicode_tables.h: where Hugging Face's tokenizers and our Unicode libraries disagree.

  make_unicode_tables.py [--check] [--out FILE]

Every code point is put to the Python package tokenizers (0.22.2 made the committed file) and to the shared libraries
that kvengine links, utf8proc 2.8 and Oniguruma 6.9.8, called through ctypes. The tables are the differences; applying
them is then tried on every code point again. --check compares with the committed file instead of writing it.
Needs tokenizers and clang-format.
"""
import argparse
import ctypes
import pathlib
import subprocess
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

HEADER = pathlib.Path(__file__).resolve().parent.parent / "engine" / "tokenizer" / "unicode_tables.h"
CODES = [c for c in range(1, 0x110000) if not 0xd800 <= c <= 0xdfff]
# Bits of utf8proc.h: STABLE | COMPAT? | COMPOSE or DECOMPOSE, as engine/tokenizer/unicode.cc combines them.
FORMS = {"NFC": 2 | 8, "NFD": 2 | 16, "NFKC": 2 | 4 | 8, "NFKD": 2 | 4 | 16}
# A character that both sides know, by general category and by bytes of UTF-8. P and S stand for all their kinds:
# no pattern of a known tokenizer tells them apart.
STAND_INS = {("Lu", 3): 0xA740, ("Ll", 3): 0xA741, ("Mn", 3): 0x1AB0, ("Mc", 3): 0x0903, ("P", 3): 0x2010,
             ("S", 3): 0x2190, ("Lu", 4): 0x10400, ("Ll", 4): 0x10428, ("Lm", 4): 0x16B40, ("Lo", 4): 0x20000,
             ("Mn", 4): 0x1D167, ("Mc", 4): 0x1D165, ("Nd", 4): 0x104A0, ("No", 4): 0x1F100, ("P", 4): 0x10100,
             ("S", 4): 0x1F300}
CATEGORIES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "P", "S", "Z"]
CLASSES = [rf"\p{{{category}}}" for category in CATEGORIES] + [r"\p{C}", r"\s", r"\w"]


class Utf8proc:
    def __init__(self):
        self.library = ctypes.CDLL("libutf8proc.so.2")
        self.library.utf8proc_map.restype = ctypes.c_ssize_t
        self.library.utf8proc_map.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_void_p),
                                              ctypes.c_int]
        self.free = ctypes.CDLL(None).free
        self.free.argtypes = [ctypes.c_void_p]

    def normalize(self, text, form):
        data, result = text.encode(), ctypes.c_void_p()
        size = self.library.utf8proc_map(data, len(data), ctypes.byref(result), FORMS[form])
        if size < 0:
            raise RuntimeError(f"utf8proc_map: error {size}")
        out = ctypes.string_at(result, size).decode()
        self.free(result)
        return out

    def is_number(self, code):
        return self.library.utf8proc_category(code) in (9, 10, 11)  # Nd, Nl, No

    def lower(self, code):
        return self.library.utf8proc_tolower(code)


class Oniguruma:
    """Which code points a pattern for one character matches; runs of them are found at once, which is quick."""

    def __init__(self):
        self.library = ctypes.CDLL("libonig.so.5")
        self.utf8 = ctypes.addressof(ctypes.c_byte.in_dll(self.library, "OnigEncodingUTF8"))
        self.syntax = ctypes.c_void_p.in_dll(self.library, "OnigDefaultSyntax")
        encodings = (ctypes.c_void_p * 1)(self.utf8)
        self.library.onig_initialize(encodings, 1)

    def matched(self, pattern):
        regex, info, data = ctypes.c_void_p(), ctypes.create_string_buffer(64), f"(?:{pattern})++".encode()
        at = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        status = self.library.onig_new(ctypes.byref(regex), ctypes.c_void_p(at), ctypes.c_void_p(at + len(data)), 0,
                                       ctypes.c_void_p(self.utf8), self.syntax, info)
        if status != 0:
            raise RuntimeError(f"onig_new({pattern}): error {status}")
        text = "".join(map(chr, CODES)).encode()
        begin = at = ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value
        end = begin + len(text)
        pointers = [ctypes.c_void_p] * 5
        self.library.onig_search.argtypes = [*pointers, ctypes.c_void_p, ctypes.c_uint]
        self.library.onig_match.argtypes = [*pointers, ctypes.c_uint]
        found = set()
        while at < end:
            offset = self.library.onig_search(regex, begin, end, at, end, None, 0)
            if offset < 0:
                break
            length = self.library.onig_match(regex, begin, end, begin + offset, None, 0)
            found |= set(map(ord, text[offset:offset + length].decode()))
            at = begin + offset + length
        self.library.onig_free(regex)
        return found


def matched_by_tokenizers(pattern):
    """As Oniguruma.matched, in one search: what Split does not remove did not match."""
    text = "".join(map(chr, CODES))
    left = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)
    return set(CODES) - {ord(c) for piece, _ in left for c in piece}


def numbers_of_tokenizers():
    pieces = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("".join(f"x{chr(c)}x" for c in CODES))
    return {ord(piece) for piece, _ in pieces if len(piece) == 1 and piece != "x"}


def words_of_tokenizers():
    """An added token for whole words is not found behind a word character."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken("@", single_word=True, normalized=False)])
    codes = [c for c in CODES if chr(c) != "@"]
    ends = {begin for begin, _ in tokenizer.encode("".join(f"{chr(c)}@ " for c in codes)).offsets}
    return {c for i, c in enumerate(codes) if 3 * i + 1 not in ends}


def probes():
    """A line for each code point but the line break: alone, and among marks that want to pass it or to join it."""
    lines = []
    for code in CODES:
        c = chr(code)
        if c != "\n":
            lines.append((code, f"{c} {c}a\u0334{c}\u0334\u0301{c}\u0301"))
    return lines


def inert_characters(utf8proc):
    lines = probes()
    text = "\n".join(line for _, line in lines)
    inert = set()
    for form in FORMS:
        expected = getattr(normalizers, form)().normalize_str(text).split("\n")
        ours = utf8proc.normalize(text, form).split("\n")
        inert |= {code for (code, _), a, b in zip(lines, expected, ours, strict=True) if a != b}
    for code in sorted(inert):  # what only joins to a character that must not be made
        parts = utf8proc.normalize(chr(code), "NFD")
        if len(parts) > 1:
            inert |= {ord(part) for part in parts}
    verify_inert(utf8proc, inert, lines)
    return inert


def verify_inert(utf8proc, inert, lines):
    """normalize_form of unicode.cc with this table gives what tokenizers gives."""
    joined = "\n".join(utf8proc.normalize(chr(c), "NFD") for c in CODES if chr(c) != "\n")
    text = "\n".join(line for _, line in lines) + "\n" + joined
    for form in FORMS:
        out, begin = [], 0
        for at, c in enumerate(text):
            if ord(c) in inert:
                out += [utf8proc.normalize(text[begin:at], form), c]
                begin = at + 1
        ours = "".join(out) + utf8proc.normalize(text[begin:], form)
        if ours != getattr(normalizers, form)().normalize_str(text):
            raise RuntimeError(f"{form} differs in spite of the table")


def late_numbers(utf8proc):
    expected, ours = numbers_of_tokenizers(), {c for c in CODES if utf8proc.is_number(c)}
    if ours - expected:
        raise RuntimeError(f"numbers for utf8proc only: {sorted(map(hex, ours - expected))}")
    return expected - ours


def late_words(onig_words, utf8proc):
    ours = {c for c in onig_words if not (0x80 <= c < 0x100 and utf8proc.is_number(c))} | {0x200C, 0x200D}
    expected = words_of_tokenizers()
    if ours - expected:
        raise RuntimeError(f"word characters for Oniguruma only: {sorted(map(hex, ours - expected))}")
    return expected - ours


def late_capitals(utf8proc):
    codes = [c for c in CODES if chr(c) != "\n" and c != 0x130]  # the latter's two characters are in unicode.cc
    lower = normalizers.Lowercase().normalize_str("\n".join(map(chr, codes))).split("\n")
    offsets = {}
    for code, low in zip(codes, lower, strict=True):
        if ord(low) != utf8proc.lower(code):
            offsets[code] = ord(low) - code
    return offsets


def stand_ins(classes_of_ours):
    theirs = {pattern: matched_by_tokenizers(pattern) for pattern in CLASSES}
    differing = set().union(*(theirs[p] ^ classes_of_ours[p] for p in CLASSES))
    result = {}
    for code in differing:
        categories = [c for c in CATEGORIES if code in theirs[rf"\p{{{c}}}"]]
        result[code] = STAND_INS[categories[0], len(chr(code).encode())]
        for pattern in CLASSES:
            if (code in theirs[pattern]) != (result[code] in classes_of_ours[pattern]):
                raise RuntimeError(f"U+{code:04X} and its stand-in U+{result[code]:04X} differ in {pattern}")
    return result


def ranges(values):
    """A set of code points, or a map from code points to a number: [first, last] or [first, last, number]."""
    runs = []
    for code in sorted(values):
        number = [values[code]] if isinstance(values, dict) else []
        if runs and runs[-1][1] == code - 1 and runs[-1][2:] == number:
            runs[-1][1] = code
        else:
            runs.append([code, code, *number])
    return runs


def table(type_name, name, values, number_format="0x%04X"):
    rows = ", ".join("{0x%04X, 0x%04X%s}" % (first, last, "".join(", " + number_format % n for n in number))
                     for first, last, *number in ranges(values))
    return f"inline constexpr {type_name} {name}[] = {{{rows}}};\n"


TEMPLATE = """\
// Where the Unicode versions of our libraries and of Hugging Face's tokenizers differ. Written by
// tools/make_unicode_tables.py, which compared every code point with tokenizers %(version)s; utf8proc
// 2.8 follows Unicode 15, Oniguruma 6.9.8 Unicode 14.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace kv {

struct CodePointRange {
  uint32_t first, last;
};

// Characters newer than the normalisation tables of tokenizers (Unicode 9): they neither decompose
// nor compose, and nothing is sorted across them.
%(inert)s
// Nd, Nl and No of Unicode 15.1 to 17.
%(numbers)s
// Word characters of Unicode 15 and 16.
%(words)s
// Capital letters of Unicode 16 and 17: lower case = capital + offset.
struct LowerCaseRange {
  uint32_t first, last;
  int32_t offset;
};
%(capitals)s
// Characters of Unicode 15 and 16, which the Oniguruma inside of tokenizers knows and ours does
// not, and U+1171E, whose category changed; and an older character of the same category and the
// same length in UTF-8.
struct StandInRange {
  uint32_t first, last;
  uint32_t stand_in;
};
%(stand_ins)s
template <typename Range, size_t n>
const Range* find_range(const Range (&ranges)[n],
                        uint32_t code) {  // null where no range holds the character
  const Range* after =
      std::upper_bound(std::begin(ranges), std::end(ranges), code,
                       [](uint32_t c, const Range& range) { return c < range.first; });
  return after != std::begin(ranges) && code <= (after - 1)->last ? after - 1 : nullptr;
}

}  // namespace kv
"""


def header():
    utf8proc, oniguruma = Utf8proc(), Oniguruma()
    classes = {pattern: oniguruma.matched(pattern) for pattern in CLASSES}
    text = TEMPLATE % {
        "version": tokenizers.__version__,
        "inert": table("CodePointRange", "kInertInNormalForms", inert_characters(utf8proc)),
        "numbers": table("CodePointRange", "kLateNumbers", late_numbers(utf8proc)),
        "words": table("CodePointRange", "kLateWords", late_words(classes[r"\w"], utf8proc)),
        "capitals": table("LowerCaseRange", "kLateCapitals", late_capitals(utf8proc), "%d"),
        "stand_ins": table("StandInRange", "kStandIns", stand_ins(classes))}
    return subprocess.run(["clang-format", f"--assume-filename={HEADER}"], input=text, check=True, capture_output=True,
                          text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=HEADER)
    args = parser.parse_args()
    text = header()
    if args.check:
        same = text == HEADER.read_text()
        print(f"{HEADER.name}: {'as it would be written' if same else 'differs from what would be written'}")
        sys.exit(0 if same else 1)
    args.out.write_text(text)


if __name__ == "__main__":
    main()
