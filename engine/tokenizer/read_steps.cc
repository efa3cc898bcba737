#include "engine/tokenizer/read_steps.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/tokenizer/regex.h"

namespace kv {
namespace {

// {"Regex": "…"} or {"String": "…"}, the latter to be taken literally.
struct Pattern {
  bool literal;
  std::string text;
};
Pattern read_pattern(const JsonPlace& owner) {
  const JsonPlace pattern = owner.at("pattern");
  const bool literal = !pattern.has("Regex");
  if (literal && !pattern.has("String")) {
    throw_data("{}: expected {{\"Regex\": …}} or {{\"String\": …}}, found {}", pattern.where(),
               describe_json(pattern.value()));
  }
  const std::string text = pattern.string_at(literal ? "String" : "Regex");
  if (literal && text.empty()) throw_data("{}: the text to look for is empty", pattern.where());
  return {literal, text};
}

PreTokenizerStep::Behavior read_behavior(const JsonPlace& split) {
  using Behavior = PreTokenizerStep::Behavior;
  static const std::map<std::string, Behavior> kNames = {
      {"Isolated", Behavior::kIsolated},
      {"Removed", Behavior::kRemoved},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous},
  };
  const auto found = kNames.find(split.string_at("behavior"));
  if (found != kNames.end()) return found->second;
  throw_data(
      "{}: expected Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous, found "
      "'{}'",
      split.at("behavior").where(), split.string_at("behavior"));
}

// What is done to a text in turn; more would only cost time, or the stack.
void check_steps(const JsonPlace& step, size_t count) {
  constexpr size_t kMost = 100;
  if (count >= kMost) throw_data("{}: more than {} steps", step.where(), kMost);
}

// Larger ids than any vocabulary has would go astray.
int32_t read_id(const JsonPlace& owner, const nlohmann::json& id) {
  constexpr int64_t kLargestId = int64_t{1} << 24;
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kLargestId) {
    throw_data("{}: expected an id from 0 to {}, found {}", owner.where(), kLargestId,
               describe_json(id));
  }
  return id.get<int32_t>();
}

// The ids that a template's special token stands for.
void read_template_token(const JsonPlace& processor, const std::string& name, PostTemplate& post) {
  const JsonPlace ids = processor.at("special_tokens").at(name).at("ids");
  for (size_t i = 0; i < ids.size(); ++i)
    post.pieces.push_back(read_id(ids.at(i), ids.at(i).value()));
}

PostTemplate read_template(const JsonPlace& processor) {
  PostTemplate post;
  const JsonPlace single = processor.at("single");
  for (size_t i = 0; i < single.size(); ++i) {
    const JsonPlace piece = single.at(i);
    if (piece.has("SpecialToken")) {
      read_template_token(processor, piece.at("SpecialToken").string_at("id"), post);
    } else if (piece.has("Sequence") && piece.at("Sequence").string_at("id") == "A") {
      if (std::count(post.pieces.begin(), post.pieces.end(), PostTemplate::kSequence) != 0)
        throw_data("{}: the Sequence A a second time", piece.where());
      post.pieces.push_back(PostTemplate::kSequence);
    } else {
      throw_data("{}: expected a SpecialToken or the Sequence A, found {}", piece.where(),
                 describe_json(piece.value()));
    }
  }
  return post;
}

// The ids of the two tokens that BERT and RoBERTa put around a text.
PostTemplate read_sep_and_cls(const JsonPlace& processor) {
  const auto id_of = [&](const char* key) {
    const JsonPlace pair = processor.at(key);
    if (pair.size() != 2)
      throw_data("{}: expected [token, id], found {}", pair.where(), describe_json(pair.value()));
    return read_id(pair, pair.value()[1]);
  };
  return {{id_of("cls"), PostTemplate::kSequence, id_of("sep")}};
}

// One character that stands for the space.
std::string read_space_mark(const JsonPlace& metaspace) {
  const std::string mark = metaspace.string_at("replacement");
  if (mark.empty() || static_cast<size_t>(utf8_step(mark, 0).length) != mark.size()) {
    throw_data("{}: expected one character, found '{}'", metaspace.at("replacement").where(), mark);
  }
  return mark;
}

PreTokenizerStep::Prepend read_prepend(const JsonPlace& metaspace) {
  using Prepend = PreTokenizerStep::Prepend;
  // Files before tokenizers 0.14 have add_prefix_space instead of a scheme.
  if (!metaspace.has("prepend_scheme"))
    return metaspace.bool_at("add_prefix_space", true) ? Prepend::kAlways : Prepend::kNever;
  const std::string scheme = metaspace.string_at("prepend_scheme");
  if (scheme == "always") return Prepend::kAlways;
  if (scheme == "first") return Prepend::kFirst;
  if (scheme == "never") return Prepend::kNever;
  throw_data("{}: expected always, first or never, found '{}'",
             metaspace.at("prepend_scheme").where(), scheme);
}

void read_metaspace(const JsonPlace& metaspace, PreTokenizerStep& step) {
  step.type = PreTokenizerStep::Type::kMetaspace;
  step.replacement = read_space_mark(metaspace);
  step.prepend = read_prepend(metaspace);
  step.split = metaspace.bool_at("split", true);
}

int read_count(const JsonPlace& owner, const char* key) {
  const int64_t count = owner.integer_at(key);
  if (count < 0 || count > INT32_MAX)
    throw_data("{}: expected a number from 0, found {}", owner.at(key).where(), count);
  return static_cast<int>(count);
}

// Text by text in every token; behind Fuse, where tokens come in pieces, one character at most.
DecoderStep read_replace(const JsonPlace& decoder, bool fused) {
  const Pattern pattern = read_pattern(decoder);
  const auto first = pattern.literal ? utf8_step(pattern.text, 0).length : 0;
  if (!pattern.literal || (fused && static_cast<size_t>(first) != pattern.text.size())) {
    throw_data("{}: only a literal text is supported, behind Fuse of one character; found {}",
               decoder.at("pattern").where(), decoder.at("pattern").value().dump());
  }
  DecoderStep step;
  step.type = DecoderStep::Type::kReplace;
  step.pattern = pattern.text;
  step.text = decoder.string_at("content");
  return step;
}

DecoderStep read_strip(const JsonPlace& decoder) {
  DecoderStep step;
  step.type = DecoderStep::Type::kStrip;
  step.pattern = decoder.string_at("content");
  step.left = read_count(decoder, "start");
  if (read_count(decoder, "stop") != 0)
    throw_data("{}: only 0 is supported", decoder.at("stop").where());
  if (step.pattern.empty()) throw_data("{}: the character is empty", decoder.at("content").where());
  return step;
}

}  // namespace

void read_normalizer(const JsonPlace& normalizer, TokenizerSpec& spec) {
  using Type = NormalizerStep::Type;
  const std::string type = normalizer.string_at("type");
  check_steps(normalizer, spec.normalizer.size());
  NormalizerStep step;
  static const std::map<std::string, NormalForm> kForms = {{"NFC", NormalForm::kNfc},
                                                           {"NFD", NormalForm::kNfd},
                                                           {"NFKC", NormalForm::kNfkc},
                                                           {"NFKD", NormalForm::kNfkd}};
  if (type == "Sequence") {
    const JsonPlace list = normalizer.at("normalizers");
    for (size_t i = 0; i < list.size(); ++i) read_normalizer(list.at(i), spec);
    return;
  }
  if (kForms.count(type) != 0) {
    step.form = kForms.at(type);
  } else if (type == "Lowercase") {
    step.type = Type::kLowercase;
  } else if (type == "Strip") {
    step.type = Type::kStrip;
    step.left = normalizer.bool_at("strip_left", std::nullopt);
    step.right = normalizer.bool_at("strip_right", std::nullopt);
  } else if (type == "Prepend") {
    step.type = Type::kPrepend;
    step.text = normalizer.string_at("prepend");
  } else if (type == "Replace") {
    step.type = Type::kReplace;
    const Pattern pattern = read_pattern(normalizer);
    step.literal = pattern.literal;
    step.pattern = pattern.text;
    step.text = normalizer.string_at("content");
  } else {
    throw_data(
        "{}: type '{}' is not supported; supported: NFC, NFD, NFKC, NFKD, Lowercase, Strip, "
        "Prepend, Replace, "
        "Sequence of these, null",
        normalizer.where(), type);
  }
  spec.normalizer.push_back(step);
}

void read_pre_tokenizer(const JsonPlace& pre_tokenizer, TokenizerSpec& spec) {
  using Type = PreTokenizerStep::Type;
  const std::string type = pre_tokenizer.string_at("type");
  check_steps(pre_tokenizer, spec.pre_tokenizer.size());
  PreTokenizerStep step;
  if (type == "Sequence") {
    const JsonPlace list = pre_tokenizer.at("pretokenizers");
    for (size_t i = 0; i < list.size(); ++i) read_pre_tokenizer(list.at(i), spec);
    return;
  }
  if (type == "ByteLevel") {
    step.type = Type::kByteLevel;
    step.add_prefix_space = pre_tokenizer.bool_at("add_prefix_space", std::nullopt);
    step.use_regex = pre_tokenizer.bool_at("use_regex", true);
  } else if (type == "Digits") {
    step.type = Type::kDigits;
    step.individual_digits = pre_tokenizer.bool_at("individual_digits", std::nullopt);
  } else if (type == "Split") {
    step.type = Type::kSplit;
    const Pattern pattern = read_pattern(pre_tokenizer);
    step.pattern = pattern.literal ? escape_regex(pattern.text) : pattern.text;
    step.behavior = read_behavior(pre_tokenizer);
    step.invert = pre_tokenizer.bool_at("invert", false);
  } else if (type == "Metaspace") {
    read_metaspace(pre_tokenizer, step);
  } else if (type == "WhitespaceSplit") {
    step.type = Type::kSplit;
    step.pattern = R"(\s)";
    step.behavior = PreTokenizerStep::Behavior::kRemoved;
  } else {
    throw_data(
        "{}: type '{}' is not supported; supported: ByteLevel, Digits, Split, Metaspace, "
        "WhitespaceSplit, Sequence of these, null",
        pre_tokenizer.where(), type);
  }
  spec.pre_tokenizer.push_back(step);
}

void read_post_processor(const JsonPlace& post_processor, TokenizerSpec& spec) {
  const std::string type = post_processor.string_at("type");
  check_steps(post_processor, spec.post.size());
  if (type == "Sequence") {
    const JsonPlace list = post_processor.at("processors");
    for (size_t i = 0; i < list.size(); ++i) read_post_processor(list.at(i), spec);
  } else if (type == "TemplateProcessing") {
    spec.post.push_back(read_template(post_processor));
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    spec.post.push_back(read_sep_and_cls(post_processor));
  } else if (type != "ByteLevel") {  // ByteLevel only moves offsets, which nobody asks for here
    throw_data(
        "{}: type '{}' is not supported; supported: ByteLevel, TemplateProcessing, BertProcessing, "
        "RobertaProcessing, Sequence of these, null",
        post_processor.where(), type);
  }
}

void read_decoder(const JsonPlace& decoder, TokenizerSpec& spec) {
  using Type = DecoderStep::Type;
  const std::string type = decoder.string_at("type");
  check_steps(decoder, spec.decoder.size());
  if (type == "Sequence") {
    const JsonPlace list = decoder.at("decoders");
    for (size_t i = 0; i < list.size(); ++i) read_decoder(list.at(i), spec);
    return;
  }
  DecoderStep step;
  if (type == "ByteLevel" || type == "Fuse" || type == "ByteFallback") {
    step.type = type == "Fuse"        ? Type::kFuse
                : type == "ByteLevel" ? Type::kByteLevel
                                      : Type::kByteFallback;
  } else if (type == "Replace") {
    const bool fused = std::any_of(
        spec.decoder.begin(), spec.decoder.end(),
        [](const DecoderStep& s) { return s.type == Type::kFuse || s.type == Type::kByteLevel; });
    step = read_replace(decoder, fused);
  } else if (type == "Strip") {
    step = read_strip(decoder);
  } else if (type == "Metaspace") {
    step.type = Type::kMetaspace;
    step.pattern = read_space_mark(decoder);
    step.drop_first = read_prepend(decoder) != PreTokenizerStep::Prepend::kNever;
  } else {
    throw_data(
        "{}: type '{}' is not supported; supported: ByteLevel, Fuse, Replace, ByteFallback, Strip, "
        "Metaspace, Sequence of these, null",
        decoder.where(), type);
  }
  spec.decoder.push_back(step);
}

}  // namespace kv
