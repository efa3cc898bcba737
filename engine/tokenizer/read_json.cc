// tokenizer.json -> TokenizerSpec: the model and the added tokens. The steps before and
// after the model are read in read_steps.cc.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/tokenizer/json_file.h"
#include "engine/tokenizer/read.h"
#include "engine/tokenizer/read_steps.h"

namespace kv {
namespace {

void refuse_text(const JsonPlace& model, const char* key) {
  if (model.has(key) && !model.string_at(key).empty()) {
    throw_data("{}: only an empty one is supported, found '{}'", model.at(key).where(),
               model.string_at(key));
  }
}

ModelKind read_model_kind(const JsonPlace& model) {
  // Files of old have no type; then only Unigram's vocabulary is a list.
  const bool listed = model.at("vocab").value().is_array();
  const std::string type = model.has("type") ? model.string_at("type") : listed ? "Unigram" : "BPE";
  if (type == "BPE") return ModelKind::kBpe;
  if (type == "Unigram") return ModelKind::kUnigram;
  throw_data(
      "{}: type '{}' is not supported: this engine tokenizes with BPE and Unigram (WordPiece and "
      "WordLevel split words by other rules)",
      model.where(), type);
}

void read_vocab(const JsonPlace& model, TokenizerSpec& spec) {
  const JsonPlace vocab = model.at("vocab");
  if (!vocab.value().is_object()) throw_data("{}: expected an object, token -> id", vocab.where());
  spec.vocab.reserve(vocab.value().size());
  for (const auto& [text, id] : vocab.value().items()) {
    constexpr int64_t kLargestId = int64_t{1}
                                   << 24;  // keeps a wrong digit from asking for gigabytes
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kLargestId) {
      throw_data("{}: '{}': expected an id from 0 to {}, found {}", vocab.where(), text, kLargestId,
                 describe_json(id));
    }
    spec.vocab.emplace_back(text, id.get<int32_t>());
  }
}

// Written as "left right" or, where entries may contain spaces, as ["left", "right"].
std::pair<std::string, std::string> read_merge(const JsonPlace& merge) {
  if (merge.value().is_array()) {
    if (merge.size() != 2)
      throw_data("{}: expected two parts, found {}", merge.where(), merge.size());
    return {merge.at(size_t{0}).text(), merge.at(size_t{1}).text()};
  }
  const std::string line = merge.text();
  const size_t space = line.find(' ');
  if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
    throw_data("{}: expected two parts with one space between, found '{}'", merge.where(), line);
  }
  return {line.substr(0, space), line.substr(space + 1)};
}

void read_merges(const JsonPlace& model, TokenizerSpec& spec) {
  const JsonPlace merges = model.at("merges");
  spec.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const nlohmann::json& line = merges.value()[i];
    if (line.is_string() && line.get_ref<const std::string&>().starts_with("#version")) continue;
    spec.merges.push_back(read_merge(merges.at(i)));
  }
}

AddedToken read_added_token(const JsonPlace& entry) {
  AddedToken token;
  token.id = static_cast<int32_t>(entry.integer_at("id"));
  token.content = entry.string_at("content");
  token.single_word = entry.bool_at("single_word", false);
  token.lstrip = entry.bool_at("lstrip", false);
  token.rstrip = entry.bool_at("rstrip", false);
  token.special = entry.bool_at("special", false);
  token.normalized = entry.bool_at("normalized", !token.special);
  return token;
}

// A token that the vocabulary has keeps the vocabulary's id; the others follow behind, in the order
// of the file. The ids that the file writes must say the same, since the rows of the model's
// embedding are found by them.
void read_added_tokens(const JsonPlace& root, TokenizerSpec& spec) {
  if (!root.has("added_tokens")) return;
  std::unordered_map<std::string, int32_t> ids(spec.vocab.begin(), spec.vocab.end());
  int32_t next = static_cast<int32_t>(ids.size());
  const JsonPlace list = root.at("added_tokens");
  for (size_t i = 0; i < list.size(); ++i) {
    const AddedToken token = read_added_token(list.at(i));
    if (token.content.empty()) continue;
    const auto [known, is_new] = ids.emplace(token.content, next);
    if (known->second != token.id) {
      throw_data(
          "{}: '{}' has the id {} here, but {} by its place ({}); the file is inconsistent",
          list.at(i).where(), token.content, token.id, known->second,
          is_new ? "behind the vocabulary and the earlier added tokens" : "in the vocabulary");
    }
    next = std::max(next, token.id + 1);
    std::erase_if(spec.added, [&](const AddedToken& other) { return other.id == token.id; });
    spec.added.push_back(token);
  }
}

void read_bpe(const JsonPlace& model, TokenizerSpec& spec) {
  if (model.has("dropout") && model.at("dropout").value() != 0.0) {
    throw_data("{}: only null is supported, found {}: dropout makes ids random",
               model.at("dropout").where(), describe_json(model.at("dropout").value()));
  }
  refuse_text(model, "continuing_subword_prefix");
  refuse_text(model, "end_of_word_suffix");
  read_vocab(model, spec);
  read_merges(model, spec);
  spec.ignore_merges = model.bool_at("ignore_merges", false);
  spec.fuse_unk = model.bool_at("fuse_unk", false);
  spec.has_unk = model.has("unk_token");
  if (spec.has_unk) spec.unk_token = model.string_at("unk_token");
}

// [[entry, score], …]; an entry's id is its place.
void read_unigram(const JsonPlace& model, TokenizerSpec& spec) {
  const JsonPlace vocab = model.at("vocab");
  spec.vocab.reserve(vocab.size());
  spec.scores.reserve(vocab.size());
  for (size_t i = 0; i < vocab.size(); ++i) {
    const nlohmann::json& pair = vocab.value()[i];
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_number()) {
      throw_data("{}: expected [entry, score], found {}", vocab.at(i).where(), describe_json(pair));
    }
    spec.vocab.emplace_back(pair[0].get<std::string>(), static_cast<int32_t>(i));
    spec.scores.push_back(pair[1].get<double>());
  }
  spec.fuse_unk = true;
  spec.has_unk = model.has("unk_id");
  if (!spec.has_unk) return;
  const int64_t id = model.integer_at("unk_id");
  if (id < 0 || id >= static_cast<int64_t>(spec.vocab.size())) {
    throw_data("{}: expected the id of one of the {} entries, found {}", model.at("unk_id").where(),
               spec.vocab.size(), id);
  }
  spec.unk_token = spec.vocab[static_cast<size_t>(id)].first;
}

// What Hugging Face does for a file without a decoder.
DecoderStep join_with_spaces() {
  DecoderStep step;
  step.type = DecoderStep::Type::kJoin;
  step.text = " ";
  return step;
}

}  // namespace

TokenizerSpec read_tokenizer_json(const std::filesystem::path& file) {
  const nlohmann::json json = read_json_file(file);
  const JsonPlace root(json, file.string(), "");
  TokenizerSpec spec;
  spec.where = file.string();
  const JsonPlace model = root.at("model");
  spec.kind = read_model_kind(model);
  spec.byte_fallback = model.bool_at("byte_fallback", false);
  spec.kind == ModelKind::kBpe ? read_bpe(model, spec) : read_unigram(model, spec);
  read_added_tokens(root, spec);
  if (root.has("normalizer")) read_normalizer(root.at("normalizer"), spec);
  if (root.has("pre_tokenizer")) read_pre_tokenizer(root.at("pre_tokenizer"), spec);
  if (root.has("post_processor")) read_post_processor(root.at("post_processor"), spec);
  if (root.has("decoder")) {
    read_decoder(root.at("decoder"), spec);
  } else {
    spec.decoder.push_back(join_with_spaces());
  }
  return spec;
}

}  // namespace kv
