#include "runner/longctx_params.h"

#include <algorithm>

#include "compress/spec.h"
#include "engine/error.h"
#include "runner/figures.h"
#include "runner/report_longctx.h"
#include "runner/resolve_model.h"
#include "tasks/passkey_text.h"
#include "tasks/task.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// The one term of a canonical text: {name, parameters…}.
Value only_term(const std::string& text) {
  std::vector<Value> terms = parse_spec(text, "record: " + text);
  return terms.size() == 1 && terms[0].is_map() ? std::move(terms[0]) : Value{};
}

double number_or(const Value& term, const char* key, double missing) {
  const Value* value = term.find(key);
  return value != nullptr && value->is_number() ? value->number : missing;
}

// Its own method of a spec, with the fields that say the same.
void name_method(const Value& term, bool longbench, LongctxCell& cell, Json& fields) {
  const Value* name_value = term.is_map() ? term.find("name") : nullptr;
  const std::string name = name_value == nullptr ? "" : name_value->text;
  const double ratio = number_or(term, "ratio", 0);
  const auto set = [&](const char* method, const std::string& folder, const std::string& rate) {
    cell.method = method;
    cell.method_folder = folder;
    cell.rate = rate;
  };
  const auto copy = [&](const char* theirs, const char* ours) {
    fields[theirs] = static_cast<int>(number_or(term, ours, 0));
  };
  if (name == "h2o") {
    const double heavy = number_or(term, "heavy", (1 - ratio) / 2);
    const double recent = number_or(term, "recent", (1 - ratio) / 2);
    set(longbench ? "h2o_longbench" : "h2o_icl", "h2o", longctx_rate(heavy + recent));
    fields["heavy_ratio"] = heavy;
    fields["recent_ratio"] = recent;
  } else if ((name == "streaming_rolling" || name == "infllm") && term.find("ratio") != nullptr) {
    const bool blocks = name == "infllm";
    set(blocks ? "inf-llm" : "stream-llm", blocks ? "infllm" : "streamingllm",
        longctx_rate(1 - ratio));
    fields["compression_ratio"] = std::strtod(fmt::format("{:.12g}", 1 - ratio).c_str(), nullptr);
    if (blocks) {
      fields["init_ratio"] = 0.021;
      fields["context_ratio"] = 0.324;
      copy("block_size", "block");
      copy("repr_topk", "repr");
      copy("exc_block_size", "step");
    }
  } else if (name == "kivi2" || name == "kivi4" || name == "flexgen4") {
    const bool kivi = name != "flexgen4";
    const int bits = name.back() - '0';
    set(kivi ? "KIVI" : "FlexGen", kivi ? "kivi" : "flexgen", fmt::format("{}bit", bits));
    fields["k_bits"] = fields["v_bits"] = bits;
    copy("group_size", "group");
    copy("residual_length", "residual");
    if (!kivi) fields["k_quant_dim"] = fields["v_quant_dim"] = "token";
  }
}

Json text_or_null(const Params& params, const char* key) {
  return params.is_null(key) ? Json() : Json(params.string(key));
}

// What surrounds a prompt: null, or that the model's own template does ("auto": where it has one).
Json chat_of(const Params& params) {
  if (params.is_null("chat")) return "auto";
  return params.boolean("chat") ? Json("model") : Json();
}

Json longbench_eval(const Params& params, const LongBenchSet& set) {
  return {{"dataset", set.name},
          {"dataset_path", text_or_null(params, "data")},
          {"instruction", params.is_null("prompt") ? set.prompt : params.string("prompt")},
          {"instruction_position", "prefix"},
          {"max_new_tokens", params.is_null("max_new_tokens") ? set.max_new_tokens
                                                              : params.integer("max_new_tokens")},
          {"eval_metrics", {set.metric}}};
}

Json passkey_eval(const Params& params) {
  const std::vector<int> lengths = params.integers("lengths");
  Json eval = {{"dataset", "passkey_retrieval"},
               {"task_desc", params.string("unit") == "words" ? "lengths in words of the background"
                                                              : "lengths in tokens of the prompt"},
               {"background_dir", text_or_null(params, "data")},
               {"background_filling_style", "ordered_repetition"},
               {"background_len_min", *std::min_element(lengths.begin(), lengths.end())},
               {"background_len_max", *std::max_element(lengths.begin(), lengths.end())},
               {"n_background_lens", lengths.size()},
               {"depth_min", 0},
               {"depth_max", 1},
               {"n_depths", params.integer("depths")},
               {"depth_num_iterations", params.integer("repeats")},
               {"max_new_tokens",
                params.is_null("max_new_tokens") ? Json() : Json(params.integer("max_new_tokens"))},
               {"instruction", kPasskeyInstruction},
               {"instruction_position", "prefix"},
               {"retrieval_target_len", params.integer("digits")},
               {"retrieval_target_style", "int"},
               {"retrieval_target_template", passkey_needle("<PASS KEY>")},
               {"retrieval_target_placeholder", "<PASS KEY>"},
               {"retrieval_target_wrapper", "naked"},
               {"retrieval_question", kPasskeyQuestion},
               {"eval_metrics", {"exact_match", "partial_match"}}};
  return eval;
}

// "20480words_10x10x3_7digits"
std::string grid_name(const Params& params) {
  const std::vector<int> lengths = params.integers("lengths");
  return fmt::format("{}{}_{}x{}x{}_{}digits", *std::max_element(lengths.begin(), lengths.end()),
                     params.string("unit"), lengths.size(), params.integer("depths"),
                     params.integer("repeats"), params.integer("digits"));
}

Params params_of(const std::string& task_spec, const std::string& task) {
  for (const TaskInfo& info : all_tasks()) {
    if (info.name == task) return Params::read(only_term(task_spec), info.params, task, {"name"});
  }
  throw_data("record: unknown task {}", task);
}

}  // namespace

fs::path LongctxCell::folder() const {
  const fs::path rest =
      set != nullptr ? fs::path(rate) / model_folder / set->name : fs::path(model_folder) / rate;
  return fs::path(group) / method_folder / rest;
}

bool is_longctx_task(const std::string& task_spec) {
  return task_spec.rfind("longbench(", 0) == 0 || task_spec.rfind("passkey(", 0) == 0;
}

Json longctx_sub_dir() {
  return {{"input_config", "input_config/"},
          {"raw_results", "raw_results.json"},
          {"result_vis", "result_vis.png"},
          {"output_config", "output_config.json"}};
}

LongctxCell longctx_cell(const SampleRecord& record) {
  const bool longbench = record.task_spec.rfind("longbench(", 0) == 0;
  const Params params = params_of(record.task_spec, longbench ? "longbench" : "passkey");
  LongctxCell cell;
  cell.method = record.method;
  cell.method_folder = file_name(record.spec);
  Json fields = Json::object();
  if (record.spec == "none") {
    cell.method = cell.method_folder = "baseline";
  } else {
    name_method(only_term(record.spec), longbench, cell, fields);
  }
  const NamedModel model = read_model_name(record.model, record.sample_id);
  cell.model_folder = file_name(fs::path(record.model).filename().string());
  const bool cuts = longbench && params.string("truncate") == "middle";
  Json pipeline = {
      {"method", cell.method},
      {"model_name", model.name},
      {"tokenizer_name", model.name},
      {"chat_template", longbench ? chat_of(params) : Json()},
      {"model_max_len",
       cuts && !params.is_null("max_length") ? params.integer("max_length") : 2147483647},
      {"use_flash_attn", true},  // the variants of its methods whose results these are
      {"truncation_mode", cuts ? Json("middle") : Json()},
      {"batch_size", 1},
      {"out_of_max_len_allowed", true},
      {"rope_theta_factor", model.rope_theta_factor}};
  pipeline.update(fields);
  pipeline["kvengine_spec"] = record.spec;
  cell.pipeline_params = std::make_shared<const Json>(std::move(pipeline));
  Json eval;
  if (longbench) {
    cell.set = find_longbench_set(params.string("dataset"));
    cell.group = "longbench";
    eval = longbench_eval(params, *cell.set);
    const Json chat = chat_of(params);
    cell.prediction_file =
        fmt::format("{}_{}", cell.set->name, chat.is_null() ? "None" : chat.get<std::string>());
    if (cell.method == "stream-llm" || cell.method == "inf-llm") {
      cell.prediction_file += fmt::format("_compression_{}", fields["compression_ratio"].dump());
    }
  } else {
    cell.group = fmt::format("paulgraham_passkey/{}", grid_name(params));
    eval = passkey_eval(params);
  }
  eval["kvengine_task"] = record.task_spec;
  cell.eval_params = std::make_shared<const Json>(std::move(eval));
  return cell;
}

}  // namespace kv
