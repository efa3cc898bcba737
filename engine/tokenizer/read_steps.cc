#include "engine/tokenizer/read_steps.h"

#include <map>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/tokenizer/regex.h"

namespace kv {
namespace {

// {"Regex": "…"} or {"String": "…"}, the latter taken literally.
std::string read_pattern(const JsonPlace& owner) {
  const JsonPlace pattern = owner.at("pattern");
  if (pattern.has("Regex")) return pattern.string_at("Regex");
  if (pattern.has("String")) return escape_regex(pattern.string_at("String"));
  throw_data("{}: expected {{\"Regex\": …}} or {{\"String\": …}}, found {}", pattern.where(),
             describe_json(pattern.value()));
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

// The ids that a template's special token stands for.
void read_template_token(const JsonPlace& processor, const std::string& name, PostTemplate& post) {
  const JsonPlace ids = processor.at("special_tokens").at(name).at("ids");
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!ids.at(i).value().is_number_integer()) throw_data("{}: expected an id", ids.at(i).where());
    post.pieces.push_back(ids.at(i).value().get<int32_t>());
  }
}

PostTemplate read_template(const JsonPlace& processor) {
  PostTemplate post;
  const JsonPlace single = processor.at("single");
  for (size_t i = 0; i < single.size(); ++i) {
    const JsonPlace piece = single.at(i);
    if (piece.has("SpecialToken")) {
      read_template_token(processor, piece.at("SpecialToken").string_at("id"), post);
    } else if (piece.has("Sequence") && piece.at("Sequence").string_at("id") == "A") {
      post.pieces.push_back(PostTemplate::kSequence);
    } else {
      throw_data("{}: expected a SpecialToken or the Sequence A, found {}", piece.where(),
                 describe_json(piece.value()));
    }
  }
  return post;
}

}  // namespace

void read_normalizer(const JsonPlace& normalizer, TokenizerSpec& spec) {
  using Type = NormalizerStep::Type;
  const std::string type = normalizer.string_at("type");
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
    step.pattern = read_pattern(normalizer);
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
    step.pattern = read_pattern(pre_tokenizer);
    step.behavior = read_behavior(pre_tokenizer);
    step.invert = pre_tokenizer.bool_at("invert", false);
  } else {
    throw_data(
        "{}: type '{}' is not supported; supported: ByteLevel, Digits, Split, Sequence of these, "
        "null",
        pre_tokenizer.where(), type);
  }
  spec.pre_tokenizer.push_back(step);
}

void read_post_processor(const JsonPlace& post_processor, TokenizerSpec& spec) {
  const std::string type = post_processor.string_at("type");
  if (type == "Sequence") {
    const JsonPlace list = post_processor.at("processors");
    for (size_t i = 0; i < list.size(); ++i) read_post_processor(list.at(i), spec);
  } else if (type == "TemplateProcessing") {
    spec.post.push_back(read_template(post_processor));
  } else if (type != "ByteLevel") {  // ByteLevel only moves offsets, which nobody asks for here
    throw_data(
        "{}: type '{}' is not supported; supported: ByteLevel, TemplateProcessing, Sequence of "
        "these, null",
        post_processor.where(), type);
  }
}

}  // namespace kv
