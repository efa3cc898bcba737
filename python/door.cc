#include "python/door.h"

#include <algorithm>
#include <deque>
#include <map>
#include <numeric>
#include <set>

#include "engine/error.h"
#include "engine/hub.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

// Rows of a pass that feeds several continuations together, unless one alone is longer.
constexpr size_t kPassRows = 512;

// Where the first of the texts begins; npos: none of them occurs.
size_t first_of(const std::string& text, const std::vector<std::string>& texts) {
  size_t first = std::string::npos;
  for (const std::string& t : texts) first = std::min(first, text.find(t));
  return first;
}

void check_same_number(size_t n_caches, size_t n_given) {
  if (n_caches != n_given)
    throw_usage("expected one continuation for each of {} caches, found {}", n_caches, n_given);
}

// Adds a token and the row (vocab) that predicts it.
void add_token(TokenScores& scores, const float* row, int vocab, int32_t id) {
  const double norm = kernels().log_sum_exp(row, vocab);
  scores.log_probs.push_back(static_cast<float>(static_cast<double>(row[id]) - norm));
  scores.greedy.push_back(kernels().argmax(row, vocab) == id);
}

}  // namespace

DoorCache DoorCache::fork() const {
  DoorCache copy(model, compressor, cache.fork());
  copy.n_prompt = n_prompt;
  copy.last_logits = last_logits;
  copy.prompt_logits = prompt_logits;
  copy.prompt_scores = prompt_scores;
  copy.kept = kept;
  copy.notes = notes;
  return copy;
}

Door::Door(const std::string& location, const LoadOptions& options, const std::string& kv_dtype,
           int prefill_chunk)
    : model_(Model::load(find_model(location), options)),
      kv_dtype_(kv_dtype),
      session_(model_, prefill_chunk) {
  if (kv_dtype != "f32" && kv_dtype != "f16" && kv_dtype != "bf16") {
    throw_usage("kv_dtype: expected f32, f16 or bf16, found '{}'", kv_dtype);
  }
  if (prefill_chunk < 0) throw_usage("prefill_chunk: expected 0 or more, found {}", prefill_chunk);
}

CompressorSpec Door::read_spec(const std::string& text, int n_question) const {
  std::vector<CompressorSpec> specs = parse_compressors(text, "compressor");
  if (specs.size() != 1) {
    throw_usage("compressor: '{}' stands for {} compressors; give them one by one", text,
                specs.size());
  }
  specs[0].plan.check_model(shape_of(model_->config));
  specs[0].plan = specs[0].plan.with_question(n_question);
  return std::move(specs[0]);
}

// A prompt that all these plans can start from.
PrefilledPrompt Door::prefill_for(const std::vector<int32_t>& ids,
                                  const std::vector<const CompressionPlan*>& plans,
                                  const std::function<void(int, int, const float*)>& on_logits) {
  const CompressionPlan& first = *plans[0];
  PrefillOptions options;
  options.codec = prompt_codec(first, plain_codec(kv_dtype_));
  options.step = prompt_rules(first);
  options.cut = prompt_cut(first, model_->config, plain_codec(kv_dtype_));
  options.positions = positions_of(first);
  options.needs = needs_of(plans, static_cast<int>(ids.size()));
  options.on_logits = on_logits;
  options.go_on = [this](int) {
    between_passes();
    return true;
  };
  return session_.prefill(ids, options);
}

std::vector<DoorCache> Door::prefill(const std::vector<int32_t>& ids,
                                     const std::vector<std::string>& specs,
                                     const DoorPrefill& options) {
  if (ids.empty()) throw_usage("the prompt is empty; expected at least one token id");
  const int n = static_cast<int>(ids.size()), vocab = model_->config.vocab;
  if (options.n_question < 0 || options.n_question >= n) {
    throw_usage("n_question: expected 0 to {} (the prompt's tokens but one), found {}", n - 1,
                options.n_question);
  }
  std::vector<CompressorSpec> compressors;
  for (const std::string& text : specs) compressors.push_back(read_spec(text, options.n_question));
  // Plans that cut while the prompt comes need it for themselves.
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t i = 0; i < compressors.size(); ++i) {
    const CompressionPlan& plan = compressors[i].plan;
    groups[plan.prefill ? compressors[i].canonical : prompt_kind(plan, plain_codec(kv_dtype_))]
        .push_back(i);
  }
  std::map<size_t, DoorCache> caches;  // by index in specs
  for (const auto& [kind, members] : groups) {
    std::vector<const CompressionPlan*> plans;
    for (const size_t i : members) plans.push_back(&compressors[i].plan);
    std::vector<float> logits;
    TokenScores scores;
    std::function<void(int, int, const float*)> on_logits;
    if (options.logits || options.scores) {
      on_logits = [&](int first, int n_rows, const float* rows) {
        if (options.logits) logits.insert(logits.end(), rows, rows + int64_t{n_rows} * vocab);
        for (int r = 0; options.scores && r < n_rows && first + r + 1 < n; ++r)
          add_token(scores, rows + int64_t{r} * vocab, vocab,
                    ids[static_cast<size_t>(first + r + 1)]);
      };
    }
    const PrefilledPrompt prompt = prefill_for(ids, plans, on_logits);
    std::vector<CompressedCache> compressed = compress_all(*model_, prompt, plans);
    for (size_t k = 0; k < members.size(); ++k) {
      DoorCache cache(model_, compressors[members[k]].canonical, std::move(compressed[k].cache));
      cache.n_prompt = n;
      cache.last_logits = prompt.last_logits;
      cache.prompt_logits = logits;
      cache.prompt_scores = scores;
      cache.kept = std::move(compressed[k].kept);
      cache.notes = std::move(compressed[k].notes);
      caches.emplace(members[k], std::move(cache));
    }
  }
  std::vector<DoorCache> in_order;
  for (auto& [i, cache] : caches) in_order.push_back(std::move(cache));
  return in_order;
}

void Door::check_cache(const DoorCache* cache) const {
  if (cache == nullptr) throw_usage("expected a cache, found None");
  if (cache->model != model_)
    throw_usage("a cache of another model ({})", cache->model->location.string());
}

void Door::check_distinct(const std::vector<DoorCache*>& caches) const {
  std::set<const DoorCache*> seen;
  for (const DoorCache* cache : caches) {
    check_cache(cache);
    if (!seen.insert(cache).second)
      throw_usage("the same cache occurs twice; give a fork() of it for each continuation");
  }
}

void Door::feed_in_passes(const std::vector<KvCache*>& caches,
                          const std::vector<std::span<const int32_t>>& ids,
                          const Session::OnRows& on_rows) {
  for (size_t begin = 0, end = 0; begin < caches.size(); begin = end) {
    size_t n_rows = 0;
    std::vector<Segment> segments;
    std::vector<size_t> index;
    for (; end < caches.size() && (n_rows == 0 || n_rows + ids[end].size() <= kPassRows); ++end) {
      if (ids[end].empty()) continue;
      n_rows += ids[end].size();
      segments.push_back({caches[end], ids[end], LogitRows::kAll});
      index.push_back(end);
    }
    if (segments.size() == 1) {
      session_.feed(
          *segments[0].cache, segments[0].tokens,
          [&](int first, int n, const float* rows) { on_rows(index[0], first, n, rows); });
    } else if (!segments.empty()) {
      session_.feed_together(segments, [&](size_t s, int first, int n, const float* rows) {
        on_rows(index[s], first, n, rows);
      });
    }
    between_passes();
  }
}

void Door::feed(const std::vector<DoorCache*>& caches, const std::vector<std::vector<int32_t>>& ids,
                const Session::OnRows& on_rows) {
  check_same_number(caches.size(), ids.size());
  check_distinct(caches);
  const size_t vocab = static_cast<size_t>(model_->config.vocab);
  std::vector<KvCache*> rows_of;
  for (DoorCache* cache : caches) rows_of.push_back(&cache->cache);
  feed_in_passes(rows_of, {ids.begin(), ids.end()},
                 [&](size_t i, int first, int n, const float* rows) {
                   if (static_cast<size_t>(first + n) == ids[i].size()) {
                     const float* last = rows + static_cast<size_t>(n - 1) * vocab;
                     caches[i]->last_logits.assign(last, last + vocab);
                   }
                   on_rows(i, first, n, rows);
                 });
}

std::vector<TokenScores> Door::score(const std::vector<const DoorCache*>& caches,
                                     const std::vector<std::vector<int32_t>>& ids) {
  check_same_number(caches.size(), ids.size());
  const int vocab = model_->config.vocab;
  for (size_t i = 0; i < caches.size(); ++i) {
    check_cache(caches[i]);
    for (const int32_t id : ids[i]) {
      if (id < 0 || id >= vocab)
        throw_usage("token id {} is outside the model's vocabulary of {}", id, vocab);
    }
  }
  std::vector<TokenScores> scores(caches.size());
  std::deque<KvCache> forks;
  std::vector<KvCache*> rows_of;
  std::vector<std::span<const int32_t>> fed;
  for (size_t i = 0; i < caches.size(); ++i) {
    if (!ids[i].empty()) add_token(scores[i], caches[i]->last_logits.data(), vocab, ids[i][0]);
    const bool whole = caches[i]->cache.codec().codes_blocks();
    fed.emplace_back(ids[i].data(), ids[i].size() - (whole || ids[i].empty() ? 0 : 1));
    if (fed.back().empty()) {
      rows_of.push_back(nullptr);
    } else {
      rows_of.push_back(&forks.emplace_back(caches[i]->cache.fork()));
    }
  }
  feed_in_passes(rows_of, fed, [&](size_t i, int first, int n, const float* rows) {
    const int last = static_cast<int>(ids[i].size()) - 1;  // predicts what comes after
    for (int r = 0; r < n && first + r < last; ++r) {
      const int32_t id = ids[i][static_cast<size_t>(first + r + 1)];
      add_token(scores[i], rows + int64_t{r} * vocab, vocab, id);
    }
  });
  return scores;
}

std::vector<Generated> Door::generate(const std::vector<DoorCache*>& caches,
                                      const GenerateOptions& options) {
  check_distinct(caches);
  if (options.max_new_tokens < 1)
    throw_usage("max_new_tokens: expected 1 or more, found {}", options.max_new_tokens);
  for (const std::string& text : options.until) {
    if (text.empty()) throw_usage("until: a stop text is empty");
  }
  if (!options.until.empty()) model_->require_tokenizer();
  const std::vector<int>& eos = model_->config.eos_ids;
  Sampler sampler(options.sampling);
  std::vector<Generated> answers(caches.size(), {{}, "", "length"});
  const auto text_of = [&](const Generated& answer) {
    return model_->tokenizer ? model_->tokenizer->decode(answer.ids, true) : std::string();
  };
  // Adds the next token of an answer; false where the answer is complete.
  const auto take = [&](size_t i, int step) {
    Generated& answer = answers[i];
    const int32_t id = sampler.next(caches[i]->last_logits.data(), model_->config.vocab, i,
                                    static_cast<uint64_t>(step));
    if (!options.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end()) {
      answer.stop_reason = "eos";
      return false;
    }
    answer.ids.push_back(id);
    if (options.until.empty() || first_of(text_of(answer), options.until) == std::string::npos)
      return step + 1 < options.max_new_tokens;
    answer.stop_reason = "stop";
    return false;
  };
  std::vector<size_t> active(answers.size());
  std::iota(active.begin(), active.end(), size_t{0});
  for (int step = 0; !active.empty(); ++step) {
    std::erase_if(active, [&](size_t i) { return !take(i, step); });
    std::vector<DoorCache*> growing;
    std::vector<std::vector<int32_t>> tokens;
    for (const size_t i : active) {
      growing.push_back(caches[i]);
      tokens.push_back({answers[i].ids.back()});
    }
    feed(growing, tokens, [](size_t, int, int, const float*) {});
  }
  for (Generated& answer : answers) {
    answer.text = text_of(answer);
    if (answer.stop_reason == "stop") answer.text.resize(first_of(answer.text, options.until));
  }
  return answers;
}

}  // namespace kv
