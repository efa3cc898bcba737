#include "runner/prepare.h"

#include <map>
#include <numeric>
#include <set>
#include <span>

#include "engine/chat_template.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "engine/tokenizer/tokenizer.h"
#include "runner/memory_plan.h"
#include "runner/prefixes.h"

namespace kv {
namespace {

ModelIdentity identify(const std::string& name, const Model& model) {
  ModelIdentity identity;
  identity.name = name;
  identity.weights_hash = model.weights_hash;
  if (model.tokenizer) identity.tokenizer_hash = model.tokenizer->hash();
  if (model.chat_template) identity.template_hash = hash_text(model.chat_template->source());
  identity.config = model.config;
  return identity;
}

void check_compressors(const RunConfig& config, const ModelIdentity& model) {
  for (const CompressorSpec& spec : config.compressors) {
    try {
      spec.plan.check_model(shape_of(model.config));
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("compressor {} with model {}: {}", spec.canonical,
                                        model.name, e.what()));
    }
  }
}

// A sample that could never be answered is our task's bug or the user's data; either way it is
// found before the work.
void check_samples(const Task& task, const std::vector<Sample>& samples,
                   const ModelConfig& config) {
  if (samples.empty()) {
    throw_data("task {}: has no samples; its data are too short for its lengths or empty",
               task.canonical());
  }
  std::set<std::string> ids;
  for (const Sample& sample : samples) {
    if (!ids.insert(sample.id).second) {
      throw_data("task {}: two samples are called '{}'; ids must be unique", task.canonical(),
                 sample.id);
    }
    const bool scored = sample.kind == Sample::Kind::kScore;
    if (sample.context_ids.empty() || (scored && sample.continuation_ids.empty())) {
      throw_data("task {}: sample '{}' has no {} tokens", task.canonical(), sample.id,
                 sample.context_ids.empty() ? "context" : "scored");
    }
    for (const std::vector<int32_t>* part : {&sample.context_ids, &sample.continuation_ids}) {
      for (const int32_t id : *part) {
        if (id >= 0 && id < config.vocab) continue;
        throw_data(
            "task {}: sample '{}' has the token id {}, but the model's vocabulary ends at {}",
            task.canonical(), sample.id, id, config.vocab - 1);
      }
    }
  }
}

// The beginning of every context that is longer than the task allows (kvpress's evaluation does the
// same; its max_context_length). A question that the task has put at the end stays.
void cut_contexts(size_t max_length, std::vector<Sample>& samples) {
  for (Sample& sample : samples) {
    std::vector<int32_t>& context = sample.context_ids;
    const auto question = static_cast<std::ptrdiff_t>(sample.question_tokens);
    if (max_length == 0 || context.size() <= max_length + sample.question_tokens) continue;
    std::string& note = sample.meta["note"];
    note += fmt::format("{}contexts were cut to their first {} tokens", note.empty() ? "" : "; ",
                        max_length);
    context.erase(context.begin() + static_cast<std::ptrdiff_t>(max_length),
                  context.end() - question);
  }
}

// Before any work: models that take only so many tokens get no more.
void check_lengths(const RunConfig& config, const Task& task, const std::vector<Sample>& samples,
                   const ModelConfig& model) {
  for (const Sample& sample : samples) {
    auto n = static_cast<int64_t>(sample.context_ids.size() + sample.continuation_ids.size());
    if (sample.kind != Sample::Kind::kScore)
      n += most_answer_tokens(sample, config.run.max_new_tokens) - 1;
    check_length(model, n, fmt::format("task {}: sample '{}': ", task.canonical(), sample.id));
  }
}

// The question of every sample at the end of its context.
void move_questions(const Task& task, std::vector<Sample>& samples) {
  for (Sample& sample : samples) {
    if (sample.question_tokens > 0) continue;  // the task has put it there
    if (sample.continuation_ids.empty()) {
      throw_usage(
          "task {}: query_aware: sample '{}' has no question apart from its context; leave the key "
          "out",
          task.canonical(), sample.id);
    }
    std::vector<int32_t>& context = sample.context_ids;
    sample.question_tokens = static_cast<int>(sample.continuation_ids.size());
    context.insert(context.end(), sample.continuation_ids.begin(), sample.continuation_ids.end());
    sample.continuation_ids.clear();
  }
}

// Before any work: every compressor that asks for the question gets one that it can work with.
void check_questions(const RunConfig& config, const Task& task,
                     const std::vector<Sample>& samples) {
  for (const CompressorSpec& spec : config.compressors) {
    if (!spec.plan.needs_question()) continue;
    for (const Sample& sample : samples) {
      try {
        spec.plan.with_question(sample.question_tokens);
      } catch (const Error& e) {
        throw Error(e.kind(), fmt::format("compressor {} with task {}, sample '{}': {}",
                                          spec.canonical, task.canonical(), sample.id, e.what()));
      }
    }
  }
}

PreparedModel prepare_model(const RunConfig& config, const ModelEntry& entry, const Model& model) {
  PreparedModel prepared;
  prepared.identity = identify(entry.name, model);
  prepared.weight_bytes = model.weight_bytes;
  check_compressors(config, prepared.identity);
  const TextTools tools = text_tools(model);
  for (const TaskEntry& task : config.tasks) {
    prepared.samples.push_back(task.task->samples(tools, task.limit));
    if (config.run.same_max_new_tokens) {
      for (Sample& sample : prepared.samples.back()) sample.max_new_tokens = 0;
    }
    check_samples(*task.task, prepared.samples.back(), model.config);
    cut_contexts(static_cast<size_t>(task.task->max_context_length()), prepared.samples.back());
    if (task.task->query_aware()) move_questions(*task.task, prepared.samples.back());
    check_questions(config, *task.task, prepared.samples.back());
    check_lengths(config, *task.task, prepared.samples.back(), model.config);
  }
  prepared.units = make_units(prepared.samples, config.shard);
  return prepared;
}

}  // namespace

const Cell& Preparation::cell(size_t model, size_t task, size_t compressor) const {
  return cells[(model * n_tasks + task) * n_compressors + compressor];
}

std::shared_ptr<const Model> load_model(const ModelEntry& entry, const RunOptions& run) {
  LoadOptions options;
  options.weights = run.weights;
  options.openblas = run.gemm == "openblas";
  options.rope_theta_factor = entry.rope_theta_factor;
  return Model::load(entry.location, options);
}

TextTools text_tools(const Model& model) {
  TextTools tools;
  tools.max_position = model.config.max_position;
  if (!model.tokenizer) return tools;
  const std::shared_ptr<const Tokenizer> tokenizer = model.tokenizer;
  const std::shared_ptr<const ChatTemplate> chat = model.chat_template;
  tools.has_chat_template = chat != nullptr;
  tools.eos_id = tokenizer->eos_id;
  tools.encode = [tokenizer](const std::string& text, bool add_special_tokens) {
    return tokenizer->encode(text, add_special_tokens);
  };
  tools.decode = [tokenizer](const std::vector<int32_t>& ids) {
    return tokenizer->decode(ids, true);
  };
  tools.split_chat = [tokenizer, chat](const std::string& context) {
    if (!chat) return std::make_pair(tokenizer->bos_token + context, std::string("\n"));
    ChatTemplate::Split split = chat->split_user_message(context);
    return std::make_pair(std::move(split.head), std::move(split.tail));
  };
  return tools;
}

std::vector<Unit> make_units(const std::vector<std::vector<Sample>>& samples, const Shard& shard) {
  // In the order of their tokens: the contexts that begin alike stand together.
  std::map<std::pair<std::vector<int32_t>, int>, Unit> by_context;  // and question_tokens
  for (size_t t = 0; t < samples.size(); ++t) {
    for (size_t s = 0; s < samples[t].size(); ++s) {
      const Sample& sample = samples[t][s];
      by_context[{sample.context_ids, sample.question_tokens}].questions.push_back({t, s});
    }
  }
  std::vector<Unit> all;
  std::vector<int64_t> cost;  // that a context adds: the tokens it does not share, and answering
  std::span<const int32_t> before;
  for (auto& [key, unit] : by_context) {
    const std::vector<int32_t>& context = key.first;
    cost.push_back(static_cast<int64_t>(context.size() - common_prefix(before, context)) + 1);
    before = context;
    all.push_back(std::move(unit));
  }
  // Neighbours stay together, and every shard gets about the same work: a context belongs where the
  // middle of its part of the whole lies.
  const int64_t total = std::accumulate(cost.begin(), cost.end(), int64_t{0});
  std::vector<Unit> mine;
  int64_t sum = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t middle = 2 * sum + cost[i];
    sum += cost[i];
    if (middle * shard.count / (2 * total) == shard.index) mine.push_back(std::move(all[i]));
  }
  return mine;
}

Preparation prepare(const RunConfig& config) {
  Preparation preparation;
  preparation.n_tasks = config.tasks.size();
  preparation.n_compressors = config.compressors.size();
  std::vector<ModelIdentity> identities;
  for (const ModelEntry& entry : config.models) {
    const std::shared_ptr<const Model> model = load_model(entry, config.run);
    preparation.models.push_back(prepare_model(config, entry, *model));
    identities.push_back(preparation.models.back().identity);
    if (config.models.size() == 1) preparation.only_model = model;
  }
  preparation.cells = make_cells(config, identities);
  return preparation;
}

}  // namespace kv
