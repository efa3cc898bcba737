#include "engine/tokenizer/normalize.h"

#include <algorithm>

#include "engine/error.h"

namespace kv {
namespace {

std::string strip(std::string_view text, bool left, bool right) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (is_white_space(next_code_point(text, at))) continue;
    begin = std::min(begin, start);
    end = at;
  }
  if (end == 0) return (left || right) ? std::string() : std::string(text);
  if (!left) begin = 0;
  if (!right) end = text.size();
  return std::string(text.substr(begin, end - begin));
}

std::vector<Span> matches_of(std::string_view text, std::string_view literal) {
  std::vector<Span> matches;
  for (size_t at = text.find(literal); at != std::string_view::npos;
       at = text.find(literal, at + literal.size())) {
    matches.push_back({at, at + literal.size(), true});
  }
  return matches;
}

std::string replace(std::string_view text, const std::vector<Span>& matches,
                    const std::string& by) {
  std::string out;
  size_t from = 0;
  for (const Span& match : matches) {
    out += text.substr(from, match.begin - from);
    out += by;
    from = match.end;
  }
  out += text.substr(from);
  return out;
}

}  // namespace

void check_growth(size_t before, size_t after, const std::string& where) {
  if (after <= (size_t{1} << 20) + 64 * before) return;
  throw_data("{}: makes {} bytes out of a text of {}; expected far fewer", where, after, before);
}

Normalizer::Normalizer(const TokenizerSpec& spec)
    : where_(spec.where + ": normalizer"), steps_(spec.normalizer) {
  for (const NormalizerStep& step : steps_) {
    if (step.type == NormalizerStep::Type::kReplace && !step.literal)
      patterns_.emplace_back(step.pattern, where_);
    only_forms_ = only_forms_ && step.type == NormalizerStep::Type::kForm;
  }
}

bool Normalizer::keeps(std::string_view text) const {
  return steps_.empty() || (only_forms_ && is_ascii(text));
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  size_t next_pattern = 0;
  for (const NormalizerStep& step : steps_) {
    switch (step.type) {
      case NormalizerStep::Type::kForm:
        out = normalize_form(out, step.form);
        break;
      case NormalizerStep::Type::kLowercase:
        out = lower_case(out);
        break;
      case NormalizerStep::Type::kStrip:
        out = strip(out, step.left, step.right);
        break;
      case NormalizerStep::Type::kPrepend:
        if (!out.empty()) out.insert(0, step.text);
        break;
      case NormalizerStep::Type::kReplace: {
        std::vector<Span> matches;
        if (step.literal) {
          matches = matches_of(out, step.pattern);
        } else {
          patterns_[next_pattern++].find_all(out, matches);
        }
        check_growth(text.size(), out.size() + matches.size() * step.text.size(), where_);
        out = replace(out, matches, step.text);
        break;
      }
    }
    check_growth(text.size(), out.size(), where_);
  }
  return out;
}

}  // namespace kv
