#include "engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "engine/error.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/read.h"
#include "engine/tokenizer/special_names.h"
#include "engine/tokenizer/token_model.h"

namespace kv {
namespace {

constexpr size_t kLongestRemembered = 256;  // bytes; longer words hardly come twice

// Added tokens, normalizer, added tokens, pre-tokenizer, model, post-processor; back: decoder.
class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(const TokenizerSpec& spec)
      : normalizer_(spec),
        raw_matcher_(spec, false, normalizer_),
        normalized_matcher_(spec, true, normalizer_),
        pre_tokenizer_(spec),
        model_(TokenModel::make(spec)),
        post_(spec.post),
        decoder_(spec.decoder),
        hash_(hash_of(spec)) {
    vocab_size_ = static_cast<int>(model_->entries().size());
    for (const AddedToken& token : spec.added) {
      added_by_id_[token.id] = token.content;
      added_ids_[token.content] = token.id;
      if (token.special) special_.insert(token.content);
      vocab_size_ = std::max(vocab_size_, token.id + 1);
    }
  }

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override {
    const size_t invalid = find_invalid_utf8(text);
    if (invalid != std::string_view::npos) {
      throw_data(
          "text to tokenize: expected UTF-8, found byte 0x{:02x} at offset {}; convert the text to "
          "UTF-8 first",
          static_cast<uint8_t>(text[invalid]), invalid);
    }
    std::vector<int32_t> ids;
    for (const Section& section : raw_matcher_.split(text)) {
      if (section.id >= 0) {
        ids.push_back(section.id);
      } else {
        encode_section(text.substr(section.begin, section.end - section.begin), section.begin == 0,
                       ids);
      }
    }
    if (add_special_tokens) {
      for (const PostTemplate& post : post_) ids = apply_template(post, ids);
    }
    return ids;
  }

  TextDecoder decoder() const override { return TextDecoder(decoder_); }
  int vocab_size() const override { return vocab_size_; }

  std::optional<int32_t> token_id(std::string_view text) const override {
    const auto added = added_ids_.find(std::string(text));
    if (added != added_ids_.end()) return added->second;
    const int32_t id = model_->find(text);
    return id < 0 ? std::nullopt : std::optional(id);
  }

  std::string token(int32_t id) const override {
    const auto added = added_by_id_.find(id);
    if (added != added_by_id_.end()) return added->second;
    const bool known = id >= 0 && static_cast<size_t>(id) < model_->entries().size();
    return known ? model_->entries()[id] : std::string();
  }

  bool is_special(int32_t id) const override { return special_.count(token(id)) != 0; }
  std::string hash() const override { return hash_; }

 private:
  // Where the ids of a word already stand in the output.
  struct Place {
    size_t begin, count;
  };

  // Text between the tokens that are looked for before normalisation. at_start: the input's first.
  void encode_section(std::string_view raw, bool at_start, std::vector<int32_t>& ids) const {
    const std::string copy = normalizer_.keeps(raw) ? std::string() : normalizer_.apply(raw);
    const std::string_view text = normalizer_.keeps(raw) ? raw : std::string_view(copy);
    for (const Section& section : normalized_matcher_.split(text)) {
      if (section.id >= 0) {
        ids.push_back(section.id);
      } else {
        encode_words(text.substr(section.begin, section.end - section.begin),
                     at_start && section.begin == 0, ids);
      }
    }
  }

  void encode_words(std::string_view text, bool at_start, std::vector<int32_t>& ids) const {
    const Words words = pre_tokenizer_.split(text, at_start);
    std::unordered_map<std::string_view, Place> seen;
    for (const std::string_view word : words.items) {
      for (size_t begin = 0; begin < word.size();) {
        const size_t end = model_->part_end(word, begin);
        encode_part(word.substr(begin, end - begin), seen, ids);
        begin = end;
      }
    }
  }

  void encode_part(std::string_view part, std::unordered_map<std::string_view, Place>& seen,
                   std::vector<int32_t>& ids) const {
    if (part.size() > kLongestRemembered) return model_->encode_word(part, ids);
    const size_t begin = ids.size();
    const auto [known, is_new] = seen.try_emplace(part, Place{begin, 0});
    if (is_new) {
      model_->encode_word(part, ids);
      known->second.count = ids.size() - begin;
    } else {
      for (size_t i = 0; i < known->second.count; ++i) ids.push_back(ids[known->second.begin + i]);
    }
  }

  static std::vector<int32_t> apply_template(const PostTemplate& post,
                                             const std::vector<int32_t>& ids) {
    std::vector<int32_t> out;
    for (const int32_t piece : post.pieces) {
      if (piece == PostTemplate::kSequence) {
        out.insert(out.end(), ids.begin(), ids.end());
      } else {
        out.push_back(piece);
      }
    }
    return out;
  }

  Normalizer normalizer_;
  AddedTokenMatcher raw_matcher_, normalized_matcher_;
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<const TokenModel> model_;
  std::vector<PostTemplate> post_;
  std::vector<DecoderStep> decoder_;
  std::string hash_;
  std::unordered_map<int32_t, std::string> added_by_id_;
  std::unordered_map<std::string, int32_t> added_ids_;
  std::unordered_set<std::string> special_;  // by text, as Hugging Face compares them
  int vocab_size_ = 0;
};

int id_or_none(const Tokenizer& tokenizer, const std::string& token) {
  return token.empty() ? -1 : tokenizer.token_id(token).value_or(-1);
}

}  // namespace

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  StreamDecoder stream(*this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += stream.add(id);
  return text += stream.finish();
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json_file(
    const std::filesystem::path& tokenizer_json) {
  return std::make_shared<PipelineTokenizer>(read_tokenizer_json(tokenizer_json));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_folder(const std::filesystem::path& folder) {
  auto tokenizer =
      std::make_shared<PipelineTokenizer>(read_tokenizer_json(folder / "tokenizer.json"));
  const std::map<std::string, std::string> names = read_special_names(folder);
  const auto name = [&](const char* key) {
    const auto found = names.find(key);
    return found == names.end() ? std::string() : found->second;
  };
  tokenizer->bos_token = name("bos_token");
  tokenizer->eos_token = name("eos_token");
  tokenizer->pad_token = name("pad_token");
  tokenizer->unk_token = name("unk_token");
  tokenizer->bos_id = id_or_none(*tokenizer, tokenizer->bos_token);
  tokenizer->eos_id = id_or_none(*tokenizer, tokenizer->eos_token);
  return tokenizer;
}

std::shared_ptr<const Tokenizer> Tokenizer::from_gguf(const GgufTokenizer& metadata,
                                                      const std::string& file) {
  auto tokenizer = std::make_shared<PipelineTokenizer>(read_gguf_tokenizer(metadata, file));
  tokenizer->bos_id = metadata.bos_id;
  tokenizer->eos_id = metadata.eos_id;
  tokenizer->bos_token = tokenizer->token(metadata.bos_id);
  tokenizer->eos_token = tokenizer->token(metadata.eos_id);
  tokenizer->pad_token = tokenizer->token(metadata.pad_id);
  tokenizer->unk_token = tokenizer->token(metadata.unk_id);
  return tokenizer;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_(skip_special_tokens), decoder_(tokenizer.decoder()) {}

std::string StreamDecoder::add(int32_t id) {
  const std::string token = tokenizer_.token(id);
  if (token.empty() || (skip_special_ && tokenizer_.is_special(id))) return "";
  return decoder_.add(token);
}

std::string StreamDecoder::finish() {
  return decoder_.finish();
}

}  // namespace kv
