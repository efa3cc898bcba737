#include "engine/tokenizer/pretokenize.h"

#include <algorithm>
#include <cstring>

#include "engine/tokenizer/byte_level.h"
#include "engine/tokenizer/normalize.h"

namespace kv {
namespace {

using Behavior = PreTokenizerStep::Behavior;

// Appends the text between the matches, so that the spans cover the whole text without gaps.
std::vector<Span> with_gaps(const std::vector<Span>& matches, size_t size, bool invert) {
  std::vector<Span> spans;
  spans.reserve(2 * matches.size() + 1);
  size_t from = 0;
  for (const Span& match : matches) {
    if (from != match.begin) spans.push_back({from, match.begin, invert});
    spans.push_back({match.begin, match.end, !invert});
    from = match.end;
  }
  if (from != size) spans.push_back({from, size, invert});
  return spans;
}

// Joins neighbours. backward: from right to left, so that a delimiter goes to what follows it.
std::vector<Span> merge_delimiters(std::vector<Span> spans, bool backward) {
  if (backward) std::reverse(spans.begin(), spans.end());
  std::vector<Span> out;
  bool previous_match = false;
  for (const Span& span : spans) {
    if (span.is_match && !previous_match && !out.empty()) {
      (backward ? out.back().begin : out.back().end) = backward ? span.begin : span.end;
    } else {
      out.push_back(span);
    }
    previous_match = span.is_match;
  }
  if (backward) std::reverse(out.begin(), out.end());
  return out;
}

// One span for each run of matches or of other text.
std::vector<Span> merge_runs(const std::vector<Span>& spans) {
  std::vector<Span> out;
  bool previous_match = false;
  for (const Span& span : spans) {
    if (span.is_match == previous_match && !out.empty()) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
    previous_match = span.is_match;
  }
  return out;
}

std::vector<Span> cut(const std::vector<Span>& matches, size_t size, Behavior behavior,
                      bool invert) {
  std::vector<Span> spans = with_gaps(matches, size, invert);
  switch (behavior) {
    case Behavior::kIsolated:
      break;
    case Behavior::kRemoved:
      std::erase_if(spans, [](const Span& s) { return s.is_match; });
      break;
    case Behavior::kMergedWithPrevious:
      return merge_delimiters(std::move(spans), false);
    case Behavior::kMergedWithNext:
      return merge_delimiters(std::move(spans), true);
    case Behavior::kContiguous:
      return merge_runs(spans);
  }
  return spans;
}

void find_numbers(std::string_view text, std::vector<Span>& matches) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_numeric(next_code_point(text, at))) matches.push_back({begin, at, true});
  }
}

std::string_view spell_bytes(std::string_view word, Words& words) {
  const auto& spelled = byte_spellings_utf8();
  char* const begin = words.allocate(2 * word.size());
  char* end = begin;
  for (const char c : word) {
    const std::string& spelling = spelled[static_cast<uint8_t>(c)];
    *end++ = spelling[0];
    if (spelling.size() == 2) *end++ = spelling[1];
  }
  return {begin, static_cast<size_t>(end - begin)};
}

// The word with each space spelled as the step says, and one before it where it asks for that.
std::string_view spell_spaces(const PreTokenizerStep& step, std::string_view word, bool at_start,
                              Words& words) {
  using Prepend = PreTokenizerStep::Prepend;
  const std::string& mark = step.replacement;
  const bool wanted =
      step.prepend == Prepend::kAlways || (step.prepend == Prepend::kFirst && at_start);
  const bool prepend = wanted && word.front() != ' ' && !word.starts_with(mark);
  const std::string spelled = (prepend ? mark : "") + replace_all(word, " ", mark);
  char* const copy = words.allocate(spelled.size());
  std::memcpy(copy, spelled.data(), spelled.size());
  return {copy, spelled.size()};
}

void find_marks(std::string_view text, std::string_view mark, std::vector<Span>& matches) {
  for (size_t at = text.find(mark); at != std::string_view::npos;
       at = text.find(mark, at + mark.size())) {
    matches.push_back({at, at + mark.size(), true});
  }
}

}  // namespace

char* Words::allocate(size_t size) {
  if (size > left_) {
    left_ = std::max(size, kBlockBytes);
    blocks_.push_back(std::make_unique<char[]>(left_));
    next_ = blocks_.back().get();
  }
  char* const result = next_;
  next_ += size;
  left_ -= size;
  return result;
}

PreTokenizer::PreTokenizer(const TokenizerSpec& spec) : where_(spec.where + ": pre_tokenizer") {
  for (const PreTokenizerStep& step : spec.pre_tokenizer) {
    const bool byte_level = step.type == PreTokenizerStep::Type::kByteLevel && step.use_regex;
    std::shared_ptr<const Regex> pattern;
    if (byte_level || step.type == PreTokenizerStep::Type::kSplit) {
      pattern = std::make_shared<Regex>(byte_level ? kGpt2Pattern : step.pattern, where_);
    }
    steps_.push_back({step, std::move(pattern)});
  }
}

bool PreTokenizer::split_word(const Step& step, std::string_view word, bool at_start,
                              std::vector<Span>& spans, Words& out) const {
  spans.clear();
  switch (step.spec.type) {
    case PreTokenizerStep::Type::kDigits:
      find_numbers(word, spans);
      spans = cut(spans, word.size(),
                  step.spec.individual_digits ? Behavior::kIsolated : Behavior::kContiguous, false);
      break;
    case PreTokenizerStep::Type::kSplit:
      step.pattern->find_all(word, spans);
      spans = cut(spans, word.size(), step.spec.behavior, step.spec.invert);
      break;
    case PreTokenizerStep::Type::kByteLevel:
      if (step.spec.add_prefix_space && word.front() != ' ') {
        char* copy = out.allocate(word.size() + 1);
        copy[0] = ' ';
        std::memcpy(copy + 1, word.data(), word.size());
        word = {copy, word.size() + 1};
      }
      if (step.pattern) step.pattern->find_all(word, spans);
      spans = cut(spans, word.size(), Behavior::kIsolated, false);
      break;
    case PreTokenizerStep::Type::kMetaspace:
      word = spell_spaces(step.spec, word, at_start, out);
      if (step.spec.split) find_marks(word, step.spec.replacement, spans);
      spans = cut(spans, word.size(), Behavior::kMergedWithNext, false);
      break;
  }
  for (const Span& span : spans) {
    if (span.begin == span.end) continue;
    const std::string_view part = word.substr(span.begin, span.end - span.begin);
    out.items.push_back(
        step.spec.type == PreTokenizerStep::Type::kByteLevel ? spell_bytes(part, out) : part);
  }
  return !spans.empty() && spans.front().begin == 0;
}

Words PreTokenizer::split(std::string_view text, bool at_start) const {
  Words words;
  if (text.empty()) return words;
  words.items.push_back(text);
  std::vector<Span> spans;
  for (const Step& step : steps_) {
    std::vector<std::string_view> before;
    before.swap(words.items);
    bool first_at_start = false;
    for (size_t i = 0; i < before.size(); ++i) {
      const bool kept = split_word(step, before[i], i == 0 && at_start, spans, words);
      if (i == 0) first_at_start = kept && at_start;
    }
    at_start = first_at_start;
    size_t size = 0;
    for (const std::string_view word : words.items) size += word.size();
    check_growth(text.size(), size, where_);
  }
  return words;
}

}  // namespace kv
