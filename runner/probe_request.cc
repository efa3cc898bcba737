#include <algorithm>
#include <map>
#include <thread>

#include "engine/compression.h"
#include "engine/error.h"
#include "engine/mapped_file.h"
#include "engine/model.h"
#include "runner/probe.h"
#include "runner/resolve_model.h"
#include "runner/value_io.h"

namespace kv {
namespace {

constexpr int kMaxThreads = 1024;

const std::vector<ParamSpec>& request_table() {
  using Type = ParamSpec::Type;
  static const std::vector<ParamSpec> table = [] {
    const auto row = [](std::string name, Type type, std::string default_text, std::string doc) {
      ParamSpec spec;
      spec.name = std::move(name);
      spec.type = type;
      spec.default_text = std::move(default_text);
      spec.doc = std::move(doc);
      return spec;
    };
    std::vector<ParamSpec> rows = {
        row("model", Type::kString, "", "folder, .gguf file, name or hub id"),
        row("prompt_ids", Type::kAny, "null", "token ids that are prefilled"),
        row("compressor", Type::kAny, "null", "spec string or object"),
        row("suffix_ids", Type::kAny, "null", "token ids fed after compression"),
        row("generate", Type::kInteger, "0", "greedy tokens after the prompt"),
        row("kv_dtype", Type::kChoice, "f32", "how rows are stored"),
        row("threads", Type::kInteger, "null", "default: one for each processor"),
        row("prefill_chunk", Type::kInteger, "0", "tokens in one pass; 0: chosen"),
        row("scores", Type::kBool, "false", "write what the policy compared"),
    };
    rows[0].required = true;
    rows[4].min = rows[7].min = 0;
    rows[4].max = rows[7].max = 1 << 30;
    rows[5].choices = {"f32", "f16", "bf16"};
    rows[6].min = 1;
    rows[6].max = kMaxThreads;
    return rows;
  }();
  return table;
}

// Ids in [0, vocab).
std::vector<int32_t> read_ids(const Value& value, int vocab) {
  if (!value.is_list()) {
    throw_usage("{}: expected a list of token ids, found {}", value.place, value.describe());
  }
  std::vector<int32_t> ids;
  ids.reserve(value.items.size());
  for (const Value& item : value.items) {
    if (!item.is_integer() || item.number < 0 || item.number >= vocab) {
      throw_usage("{}: expected a token id from 0 to {} (the model's vocabulary), found {}",
                  item.place, vocab - 1, item.describe());
    }
    ids.push_back(static_cast<int32_t>(item.number));
  }
  return ids;
}

CompressorSpec read_compressor(const Params& params, const ModelConfig& config,
                               const std::string& base_folder, const std::string& place) {
  if (params.is_null("compressor")) {
    return parse_compressors("none", place, base_folder).front();
  }
  const Value& value = params.value("compressor");
  const std::vector<CompressorSpec> specs = read_compressors(value, base_folder);
  if (specs.size() != 1) {
    throw_usage(
        "{}: stands for {} compressors (a list of ratios makes one each); a request takes one",
        value.place, specs.size());
  }
  specs[0].plan.check_model(shape_of(config));
  specs[0].plan.with_question(0);  // refuses plans that need a task to mark the question
  return specs[0];
}

// Codecs that group the rows of a whole layer take certain numbers of rows only. What a policy will
// leave is not known here.
void check_layer_rows(const ProbeRequest& request, const ModelConfig& config) {
  const CompressionPlan& plan = request.compressor.plan;
  const LayerCodec* codec = plan.codec != nullptr ? plan.codec->layer_codec() : nullptr;
  if (codec == nullptr || !plan.policies.empty()) return;
  const int n_prompt = static_cast<int>(request.prompt_ids.size());
  const int n_later = std::max(static_cast<int>(request.suffix_ids.size()), request.generate - 1);
  int coded = 0;
  for (int n = n_prompt; n <= n_prompt + n_later; ++n) {
    if (!codec->recodes(coded, n)) continue;
    codec->check_rows(int64_t{n} * config.n_kv_heads, config.n_kv_heads, config.head_dim);
    coded = n;
  }
}

// Headers of the models that were seen, so that each is read once.
class ModelHeaders {
 public:
  const ModelHeader& find(const std::string& name, const std::string& base_folder) {
    const std::string key = resolve_model(name, base_folder).string();
    const auto at = headers_.find(key);
    if (at != headers_.end()) return at->second;
    ModelHeader header = read_model_header(key);
    header.location = key;
    return headers_.emplace(key, std::move(header)).first->second;
  }

 private:
  std::map<std::string, ModelHeader> headers_;
};

ProbeRequest read_request(const Value& value, const std::string& base_folder,
                          ModelHeaders& headers) {
  if (!value.is_map()) {
    throw_usage("{}: expected a request (an object), found {}", value.place, value.describe());
  }
  const Params params = Params::read(value, request_table(), "request");
  const ModelHeader& header = headers.find(params.string("model"), base_folder);
  ProbeRequest request;
  request.place = value.place;
  request.model = header.location;
  if (params.is_null("prompt_ids")) {
    throw_usage("{}: prompt_ids is missing; give the token ids of the prompt", value.place);
  }
  request.prompt_ids = read_ids(params.value("prompt_ids"), header.config.vocab);
  if (request.prompt_ids.empty()) {
    throw_usage("{}: the prompt is empty; expected at least one token id",
                params.value("prompt_ids").place);
  }
  if (!params.is_null("suffix_ids")) {
    request.suffix_ids = read_ids(params.value("suffix_ids"), header.config.vocab);
  }
  request.compressor = read_compressor(params, header.config, base_folder, value.place);
  request.generate = params.integer("generate");
  check_layer_rows(request, header.config);
  const size_t later = std::max<size_t>(
      request.suffix_ids.size(), static_cast<size_t>(std::max(request.generate - 1, 0)));
  check_length(header.config, static_cast<int64_t>(request.prompt_ids.size() + later),
               value.place + ": ");
  request.kv_dtype = params.string("kv_dtype");
  request.threads = params.is_null("threads")
                        ? static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))
                        : params.integer("threads");
  request.prefill_chunk = params.integer("prefill_chunk");
  request.scores = params.boolean("scores");
  return request;
}

}  // namespace

std::vector<ProbeRequest> read_probe_requests(const std::filesystem::path& request_json) {
  const std::string file = request_json.filename().string();
  Value value = parse_json(read_whole_file(request_json), file);
  if (value.is_map()) {
    // One object is a list of one, also in what messages call it.
    Value list;
    list.kind = Value::Kind::kList;
    list.items.push_back(std::move(value));
    value = std::move(list);
    set_json_places(value, file, "");
  }
  if (!value.is_list()) {
    throw_usage("{}: expected a request or a list of requests, found {}", file, value.describe());
  }
  const std::string base_folder = std::filesystem::absolute(request_json).parent_path().string();
  ModelHeaders headers;
  std::vector<ProbeRequest> requests;
  for (const Value& item : value.items) {
    try {
      requests.push_back(read_request(item, base_folder, headers));
    } catch (const Error& e) {
      // Messages about models and codecs do not know which request asked.
      const std::string what = e.what();
      if (what.find(item.place) != std::string::npos) throw;
      throw Error(e.kind(), item.place + ": " + what);
    }
  }
  return requests;
}

}  // namespace kv
