#include "engine/model.h"

#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>
#include <utility>

#include "engine/chat_template.h"
#include "engine/error.h"
#include "engine/gguf_model.h"
#include "engine/lora.h"
#include "engine/model_files.h"
#include "engine/stored_codes.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr int kRowsPerTask =
    2 * kPanel;  // whole panels, so that no two tasks write to one cache line

// Which type the rows are read as: nothing stands for "as stored".
std::optional<DType> wanted_dtype(const std::string& weights) {
  if (weights == "stored" || weights == "codes") return std::nullopt;
  if (weights == "f32" || weights == "int8") return DType::kF32;
  if (weights == "bf16") return DType::kBF16;
  if (weights == "f16") return DType::kF16;
  throw_usage("weights: expected stored, f32, bf16, f16, int8 or codes, found '{}'", weights);
}

// weights: codes is for files of which some tensors are codes that products take; others are decoded.
void check_codes(const ModelFiles& files) {
  const bool some = std::any_of(files.tensors.begin(), files.tensors.end(),
                                [](const StoredTensor& t) { return code_bits(t.type) != 0; });
  if (!some) {
    throw_data("{}: weights: codes multiplies on the codes of {}, found no such tensor (types {})",
               files.location.string(), coded_types(), files.stored_dtype());
  }
}

// Reads the weights of one model; matrices are decoded and packed by all threads.
class Loader {
 public:
  Loader(const ModelFiles& files, const LoadOptions& options)
      : files_(files),
        wanted_(wanted_dtype(options.weights)),
        kind_(options.openblas            ? LinearKind::kOpenblas
              : options.weights == "int8" ? LinearKind::kInt8
                                          : LinearKind::kPacked),
        codes_(options.weights == "codes") {
    if (options.openblas && rounds_activations(options.weights)) {
      throw_usage("weights: {} is multiplied by our own kernels; expected gemm: native",
                  options.weights);
    }
    if (codes_) check_codes(files);
  }

  // One matrix out of the named modules, their outputs one after the other.
  Linear linear(const std::vector<std::string>& modules, bool bias) const {
    std::vector<const StoredTensor*> sources;
    int n_out = 0;
    bool merged = false;
    for (const std::string& module : modules) {
      sources.push_back(&files_.tensor(module + ".weight"));
      merged = merged || (files_.adapter && files_.adapter->changes(module));
      n_out += static_cast<int>(sources.back()->rows());
    }
    const DType dtype = dtype_of(sources, merged);
    const int bits = bits_of(sources, merged);
    Linear result(n_out, static_cast<int>(sources[0]->row_length()),
                  kind_ == LinearKind::kOpenblas ? DType::kF32 : dtype,
                  bits == 8   ? LinearKind::kInt8
                  : bits == 4 ? LinearKind::kInt4
                              : kind_);
    int first = 0;
    for (size_t i = 0; i < sources.size(); ++i) {
      if (bits != 0) {
        fill_codes(*sources[i], first, &result);
      } else {
        fill(*sources[i], modules[i], dtype, first, &result);
      }
      if (bias) {
        const std::vector<float> values = read_floats(files_.tensor(modules[i] + ".bias"));
        result.set_bias(values.data(), first, static_cast<int>(values.size()));
      }
      first += static_cast<int>(sources[i]->rows());
    }
    return result;
  }

  // Weights of a norm as they multiply, and its bias where the model's norms have one.
  void norm(const std::string& module, std::vector<float>* weight,
            std::vector<float>* bias = nullptr) const {
    *weight = read_floats(files_.tensor(module + ".weight"));
    if (files_.config.norm_plus_one) {
      for (float& w : *weight) w += 1.0f;
    }
    if (bias != nullptr && files_.config.norm == Norm::kLayer)
      *bias = read_floats(files_.tensor(module + ".bias"));
  }

 private:
  // Sources of several types meet in f32, which holds all of them exactly; so do merged ones.
  DType dtype_of(const std::vector<const StoredTensor*>& sources, bool merged) const {
    if (wanted_) return *wanted_;
    if (merged) return DType::kF32;
    const DType dtype = stored_dtype(sources[0]->type);
    for (const StoredTensor* source : sources) {
      if (stored_dtype(source->type) != dtype) return DType::kF32;
    }
    return dtype;
  }

  // Bits of the codes that a matrix is multiplied on. 0: none; so with what an adapter changes and with
  // sources of different kinds.
  int bits_of(const std::vector<const StoredTensor*>& sources, bool merged) const {
    if (!codes_ || merged) return 0;
    const int bits = code_bits(sources[0]->type);
    const bool same = std::all_of(sources.begin(), sources.end(), [&](const StoredTensor* source) {
      return code_bits(source->type) == bits;
    });
    return same ? bits : 0;
  }

  static void fill_codes(const StoredTensor& source, int first, Linear* target) {
    const int64_t rows = source.rows();
    const size_t length = static_cast<size_t>(source.row_length()), groups = length / kInt8Group;
    std::atomic<bool> fits = true;
    parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task) {
      std::vector<uint16_t> half_scales(groups);
      std::vector<float> scales(groups), minimums(groups);
      std::vector<int8_t> signed_codes(length);
      std::vector<uint8_t> codes(length);
      for (int64_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask);
           ++row) {
        const int o = first + static_cast<int>(row);
        bool fine;
        if (code_bits(source.type) == 8) {
          read_codes(source, row, half_scales.data(), signed_codes.data());
          fine = target->set_codes(half_scales.data(), signed_codes.data(), o);
        } else {
          read_codes(source, row, scales.data(), minimums.data(), codes.data());
          fine = target->set_codes(scales.data(), minimums.data(), codes.data(), o);
        }
        if (!fine) fits = false;
      }
    });
    if (!fits) {
      throw_data(
          "{}: tensor '{}': weights: codes: expected finite scales and codes above -128, found "
          "others; load the file with weights: stored",
          source.file, source.stored_name);
    }
  }

  void fill(const StoredTensor& source, const std::string& module, DType dtype, int first,
            Linear* target) const {
    const int64_t rows = source.rows(), length = source.row_length();
    std::atomic<bool> fits = true;
    parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task) {
      const int64_t begin = task * kRowsPerTask;
      const int64_t n = std::min<int64_t>(kRowsPerTask, rows - begin);
      std::vector<std::byte> values(static_cast<size_t>(n * length) * dtype_bytes(dtype));
      if (files_.adapter && files_.adapter->changes(module)) {
        read_merged_rows(source, module, begin, n, dtype, values.data());
      } else {
        read_rows(source, begin, n, dtype, values.data());
      }
      if (kind_ == LinearKind::kOpenblas && dtype != DType::kF32) values = widened(values, dtype);
      if (!target->set_rows(values.data(), first + static_cast<int>(begin), static_cast<int>(n)))
        fits = false;
    });
    if (!fits) {
      throw_data(
          "{}: tensor '{}': expected finite values of at most 8.3e6, which weights: int8 can hold, "
          "found larger ones, inf or NaN",
          source.file, source.stored_name);
    }
  }

  // Like read_rows, with the adapter's change added in float32 before any rounding.
  void read_merged_rows(const StoredTensor& source, const std::string& module, int64_t first,
                        int64_t n, DType dtype, std::byte* out) const {
    std::vector<float> wide(static_cast<size_t>(n * source.row_length()));
    read_rows(source, first, n, DType::kF32, wide.data());
    files_.adapter->add_to(module, first, n, wide.data());
    if (dtype == DType::kF32) {
      std::memcpy(out, wide.data(), wide.size() * sizeof(float));
      return;
    }
    (dtype == DType::kF16 ? kernels().to_f16 : kernels().to_bf16)(
        wide.data(), static_cast<int64_t>(wide.size()), reinterpret_cast<uint16_t*>(out));
  }

  static std::vector<std::byte> widened(const std::vector<std::byte>& narrow, DType dtype) {
    std::vector<std::byte> wide(narrow.size() * 2);
    const auto widen = dtype == DType::kF16 ? kernels().from_f16 : kernels().from_bf16;
    widen(reinterpret_cast<const uint16_t*>(narrow.data()), static_cast<int64_t>(narrow.size() / 2),
          reinterpret_cast<float*>(wide.data()));
    return wide;
  }

  const ModelFiles& files_;
  std::optional<DType> wanted_;
  LinearKind kind_;
  bool codes_;  // weights: codes
};

LayerWeights load_layer(const Loader& loader, const ModelConfig& config, const TensorNames& names,
                        int layer) {
  const auto at = [&](const char* pattern) { return tensor_name(pattern, layer); };
  LayerWeights weights;
  if (config.norm_before) {
    loader.norm(at(names.attention_norm), &weights.attention_norm, &weights.attention_norm_bias);
    loader.norm(at(names.mlp_norm), &weights.mlp_norm, &weights.mlp_norm_bias);
  }
  if (config.norm_after) {
    loader.norm(at(names.attention_post_norm), &weights.attention_post_norm);
    loader.norm(at(names.mlp_post_norm), &weights.mlp_post_norm);
  }
  weights.qkv = loader.linear({at(names.q), at(names.k), at(names.v)}, config.qkv_bias);
  if (config.qk_norm != QkNorm::kNone) {
    loader.norm(at(names.q_norm), &weights.q_norm);
    loader.norm(at(names.k_norm), &weights.k_norm);
  }
  weights.o = loader.linear({at(names.o)}, config.o_bias);
  std::vector<std::string> wide = {at(names.up)};
  if (config.gated_mlp) wide.insert(wide.begin(), at(names.gate));
  weights.gate_up = loader.linear(wide, config.mlp_bias);
  weights.down = loader.linear({at(names.down)}, config.mlp_bias);
  return weights;
}

// xxh3-128 hex over names, types, shapes and bytes as stored, in name order; then the adapter.
std::string hash_weights(const ModelFiles& files) {
  const std::vector<StoredTensor>& tensors = files.tensors;
  std::vector<XXH128_hash_t> hashes(tensors.size());
  parallel_for(static_cast<int64_t>(tensors.size()), [&](int64_t i) {
    const StoredTensor& tensor = tensors[static_cast<size_t>(i)];
    hashes[static_cast<size_t>(i)] = XXH3_128bits(tensor.data, tensor.stored_bytes());
  });
  std::string all;
  for (size_t i = 0; i < tensors.size(); ++i) {
    all += fmt::format("{} {} {} {:016x}{:016x}\n", tensors[i].name, storage_name(tensors[i].type),
                       shape_text(tensors[i].shape), hashes[i].high64, hashes[i].low64);
  }
  if (files.adapter) all += files.adapter->hash();
  const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

// transformers ties the two only where they are equal; a file that has both and disagrees has no
// clear meaning.
void check_repeated_embedding(const ModelFiles& files) {
  for (const StoredTensor& head : files.repeated_embedding) {
    const StoredTensor& embedding =
        files.tensor(std::string(files.architecture->tensors->embedding) + ".weight");
    if (head.type == embedding.type && head.shape == embedding.shape &&
        std::memcmp(head.data, embedding.data, head.bytes) == 0) {
      continue;
    }
    throw_data(
        "{}: tensor '{}' differs from the embedding '{}', but config.json says "
        "tie_word_embeddings: true; set it to false to use both",
        head.file, head.stored_name, embedding.stored_name);
  }
}

size_t memory_of(const Model& model) {
  size_t bytes = model.embedding.bytes() + model.positions.bytes();
  if (!model.config.tied_embeddings) bytes += model.lm_head.bytes();
  size_t floats = model.final_norm.size() + model.final_norm_bias.size();
  for (const LayerWeights& layer : model.layers) {
    bytes += layer.qkv.bytes() + layer.o.bytes() + layer.gate_up.bytes() + layer.down.bytes();
    for (const auto* vector : {&layer.attention_norm, &layer.attention_norm_bias, &layer.q_norm,
                               &layer.k_norm, &layer.attention_post_norm, &layer.mlp_norm,
                               &layer.mlp_norm_bias, &layer.mlp_post_norm}) {
      floats += vector->size();
    }
  }
  return bytes + floats * sizeof(float);
}

ModelText gguf_text(const Gguf& gguf) {
  const GgufTokenizer metadata = gguf_tokenizer(gguf);
  ModelText text;
  if (metadata.tokens.empty()) return text;
  text.tokenizer = Tokenizer::from_gguf(metadata, gguf.place());
  text.chat_template = gguf_chat_template(gguf, metadata);
  return text;
}

ModelText folder_text(const std::filesystem::path& folder) {
  ModelText text;
  if (std::filesystem::exists(folder / "tokenizer.json"))
    text.tokenizer = Tokenizer::from_folder(folder);
  text.chat_template = ChatTemplate::from_folder(folder);
  return text;
}

// What an adapter's folder does not bring along comes from its base model.
ModelText adapter_text(const std::filesystem::path& folder, ModelText base) {
  ModelText text = folder_text(folder);
  if (!text.tokenizer) text.tokenizer = base.tokenizer;
  if (!text.chat_template) text.chat_template = base.chat_template;
  return text;
}

}  // namespace

std::shared_ptr<const Model> Model::load(const std::filesystem::path& location,
                                         const LoadOptions& options) {
  const ModelFiles files = open_model_files(location);
  const Loader loader(files, options);
  check_repeated_embedding(files);
  const TensorNames& names = *files.architecture->tensors;

  auto model = std::make_shared<Model>();
  model->config = files.config;
  model->config.rope.theta *= options.rope_theta_factor;
  model->location = files.location;
  model->stored_dtype = files.stored_dtype();
  model->n_parameters = files.n_parameters();
  // A third of a small model's time, and of one thread: beside the weights.
  std::future<ModelText> text = std::async(std::launch::async, [&] {
    return files.gguf && !files.adapter ? gguf_text(*files.gguf) : read_model_text(location);
  });
  model->weights_hash = hash_weights(files);
  model->embedding = loader.linear({names.embedding}, false);
  if (model->config.learned_positions > 0)
    model->positions = loader.linear({names.positions}, false);
  for (int layer = 0; layer < model->config.n_layers; ++layer) {
    model->layers.push_back(load_layer(loader, model->config, names, layer));
  }
  loader.norm(names.final_norm, &model->final_norm, &model->final_norm_bias);
  model->lm_head = model->config.tied_embeddings ? model->embedding.share()
                                                 : loader.linear({names.lm_head}, false);
  model->weight_bytes = memory_of(*model);
  ModelText read = text.get();
  model->tokenizer = std::move(read.tokenizer);
  model->chat_template = std::move(read.chat_template);
  return model;
}

const Tokenizer& Model::require_tokenizer() const {
  if (!tokenizer) throw_no_tokenizer(location);
  return *tokenizer;
}

void throw_no_tokenizer(const std::filesystem::path& location) {
  const bool folder = std::filesystem::is_directory(location);
  for (const char* other : {"tokenizer.model", "spiece.model", "vocab.json"}) {
    if (!folder || !std::filesystem::exists(location / other)) continue;
    throw_data(
        "{0}: expected tokenizer.json, found {1}, which is not read; convert it with\n  python -c "
        "\"from transformers import AutoTokenizer as T; "
        "T.from_pretrained('{0}').save_pretrained('{0}')\"",
        location.string(), other);
  }
  throw_data("{}: the model has no tokenizer: expected {}; without one only token ids can be given",
             location.string(),
             folder ? "tokenizer.json in the folder" : "tokenizer.ggml.tokens in the file");
}

ModelText read_model_text(const std::filesystem::path& location) {
  if (is_adapter_folder(location))
    return adapter_text(location, read_model_text(find_adapter_base(location)));
  return std::filesystem::is_directory(location) ? folder_text(location)
                                                 : gguf_text(Gguf(location));
}

ModelHeader read_model_header(const std::filesystem::path& location) {
  const ModelFiles files = open_model_files(location);
  ModelHeader header;
  header.config = files.config;
  header.stored_dtype = files.stored_dtype();
  header.n_parameters = files.n_parameters();
  header.weight_bytes = files.bytes();
  header.location = files.location;
  return header;
}

}  // namespace kv
