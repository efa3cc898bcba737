#include "engine/tokenizer/token_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/unigram.h"

namespace kv {

std::unique_ptr<const TokenModel> TokenModel::make(const TokenizerSpec& spec) {
  if (spec.kind == ModelKind::kUnigram) return std::make_unique<Unigram>(spec);
  return std::make_unique<Bpe>(spec);
}

TokenModel::TokenModel(const TokenizerSpec& spec) {
  ids_.reserve(spec.vocab.size());
  for (const auto& [entry, id] : spec.vocab) {
    ids_[entry] = id;
    if (static_cast<size_t>(id) >= entries_.size()) entries_.resize(id + 1);
    entries_[id] = entry;
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = spec.byte_fallback ? find(fmt::format("<0x{:02X}>", byte)) : -1;
  }
}

size_t TokenModel::part_end(std::string_view word, size_t) const {
  return word.size();
}

int32_t TokenModel::find(std::string_view entry) const {
  const auto found = ids_.find(entry);
  return found == ids_.end() ? -1 : found->second;
}

bool TokenModel::append_bytes(std::string_view text, std::vector<int32_t>& ids) const {
  const auto id_of = [&](char c) { return byte_ids_[static_cast<uint8_t>(c)]; };
  if (std::any_of(text.begin(), text.end(), [&](char c) { return id_of(c) < 0; })) return false;
  for (const char c : text) ids.push_back(id_of(c));
  return true;
}

bool TokenModel::has_all_bytes() const {
  return std::find(byte_ids_.begin(), byte_ids_.end(), -1) == byte_ids_.end();
}

}  // namespace kv
