#include "runner/longctx_config.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/mapped_file.h"
#include "runner/value_io.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

const std::vector<ParamSpec> kKeys = {
    {.name = "pipeline_config",
     .type = ParamSpec::Type::kAny,
     .default_text = "null",
     .doc = "pipeline files, or folders of them"},
    {.name = "eval_config",
     .type = ParamSpec::Type::kAny,
     .default_text = "null",
     .doc = "evaluation files, or folders of them"},
    {.name = "data",
     .type = ParamSpec::Type::kFile,
     .default_text = "null",
     .doc = "folder of LongBench's files instead of dataset_path"},
    {.name = "background",
     .type = ParamSpec::Type::kFile,
     .default_text = "null",
     .doc = "file or folder of the passkey's background instead of background_dir"},
    {.name = "max_length",
     .type = ParamSpec::Type::kInteger,
     .default_text = "null",
     .doc = "tokens of a prompt, its middle cut, instead of what the pipelines say",
     .min = 2,
     .max = 1 << 30},
};

// The .json files that a value names: each a file, or a folder that is searched through.
std::vector<fs::path> files_of(const Value& value, const fs::path& folder) {
  if (value.is_null()) return {};
  const std::vector<Value> named = value.is_list() ? value.items : std::vector<Value>{value};
  std::vector<fs::path> files;
  for (const Value& item : named) {
    if (!item.is_string())
      throw_usage("{}: expected a file or a folder, found {}", item.place, item.describe());
    const fs::path path = (folder / item.text).lexically_normal();
    std::error_code ignored;  // a name that is too long is no file either
    if (!fs::exists(path, ignored)) {
      throw_data("{}: '{}' does not exist (paths are relative to the config file)", item.place,
                 path.string());
    }
    const size_t before = files.size();
    if (!fs::is_directory(path, ignored)) {
      files.push_back(path);
    } else {
      for (const auto& entry : fs::recursive_directory_iterator(path)) {
        if (entry.path().extension() == ".json") files.push_back(entry.path());
      }
      std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
      if (files.size() == before) throw_data("{}: no .json file in {}", item.place, path.string());
    }
  }
  return files;
}

Value read_file(const fs::path& file) {
  return parse_json(read_whole_file(file), file.string());
}

void check_alike(const LongctxPipeline& first, const LongctxPipeline& other) {
  if (other.model != first.model) {
    throw_usage(
        "{}: its model is {}, that of {} {}; a run crosses all compressors with all models, so "
        "give "
        "each model's pipelines a config of their own",
        other.place, other.model, first.place, first.model);
  }
  if (!(other.prompts == first.prompts)) {
    throw_usage(
        "{}: chat_template, truncation_mode and model_max_len give other prompts than those of {}; "
        "give them a config of their own, or one 'max_length' for all",
        other.place, first.place);
  }
}

Value spec_value(const LongctxPipeline& pipeline) {
  Value value = Value::of(pipeline.spec);
  value.place = pipeline.place;
  return value;
}

}  // namespace

LongctxEntries read_longctx(const Value& map, const fs::path& folder) {
  const Params params = Params::read(map, kKeys, "longctx_bench");
  LongctxEntries entries;
  for (const fs::path& file : files_of(params.value("pipeline_config"), folder)) {
    LongctxPipeline pipeline = read_longctx_pipeline(read_file(file));
    if (!params.is_null("max_length")) {
      pipeline.prompts.cuts_middle = true;
      pipeline.prompts.max_length = params.integer("max_length");
    }
    if (!entries.pipelines.empty()) check_alike(entries.pipelines[0], pipeline);
    entries.compressors.push_back(spec_value(pipeline));
    entries.pipelines.push_back(std::move(pipeline));
  }
  const LongctxPrompts* prompts = nullptr;
  if (!entries.pipelines.empty()) {
    prompts = &entries.pipelines[0].prompts;
    entries.model = Value::of(entries.pipelines[0].model);
    entries.model.place = entries.pipelines[0].place;
  }
  const auto text = [&](const char* key) {
    return params.is_null(key) ? std::string() : params.string(key);
  };
  for (const fs::path& file : files_of(params.value("eval_config"), folder)) {
    entries.tasks.push_back(
        read_longctx_eval(read_file(file), prompts, text("data"), text("background")));
  }
  return entries;
}

}  // namespace kv
