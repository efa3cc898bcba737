#include "tasks/longbench_sets.h"

#include <algorithm>

#include "engine/error.h"
#include "tasks/scorers/class_match.h"
#include "tasks/scorers/code_sim.h"
#include "tasks/scorers/f1.h"
#include "tasks/scorers/number_share.h"
#include "tasks/scorers/rouge.h"

namespace kv {
namespace {

// Prompts letter for letter, "asconcisely" included.
constexpr const char* kPassages =
    "Answer the question based on the given passages. Only give me the answer and do "
    "not output any other words.\n\nThe following are given passages.\n{context}\n\n"
    "Answer the question based on the given passages. Only give me the answer and do "
    "not output any other words.\n\nQuestion: {input}\nAnswer:";

constexpr LongBenchSet kSets[] = {
    {"narrativeqa", "single_doc_qa",
     "You are given a story, which can be either a novel or a movie script, and a "
     "question. Answer the question asconcisely as you can, using a single phrase if "
     "possible. Do not provide any explanation.\n\nStory: {context}\n\nNow, answer the "
     "question based on the story asconcisely as you can, using a single phrase if "
     "possible. Do not provide any explanation.\n\nQuestion: {input}\n\nAnswer:",
     128, "qa_f1_score"},
    {"qasper", "single_doc_qa",
     "You are given a scientific article and a question. Answer the question as "
     "concisely as you can, using a single phrase or sentence if possible. If the "
     "question cannot be answered based on the information in the article, write "
     "\"unanswerable\". If the question is a yes/no question, answer \"yes\", \"no\", or "
     "\"unanswerable\". Do not provide any explanation.\n\nArticle: {context}\n\n Answer "
     "the question based on the above article as concisely as you can, using a single "
     "phrase or sentence if possible. If the question cannot be answered based on the "
     "information in the article, write \"unanswerable\". If the question is a yes/no "
     "question, answer \"yes\", \"no\", or \"unanswerable\". Do not provide any "
     "explanation.\n\nQuestion: {input}\n\nAnswer:",
     128, "qa_f1_score"},
    {"multifieldqa_en", "single_doc_qa",
     "Read the following text and answer briefly.\n\n{context}\n\nNow, answer the "
     "following question based on the above text, only give me the answer and do not "
     "output any other words.\n\nQuestion: {input}\nAnswer:",
     64, "qa_f1_score"},
    {"hotpotqa", "multi_doc_qa", kPassages, 32, "qa_f1_score"},
    {"2wikimqa", "multi_doc_qa", kPassages, 32, "qa_f1_score"},
    {"musique", "multi_doc_qa", kPassages, 32, "qa_f1_score"},
    {"gov_report", "summarization",
     "You are given a report by a government agency. Write a one-page summary of the "
     "report.\n\nReport:\n{context}\n\nNow, write a one-page summary of the report.\n\n"
     "Summary:",
     512, "rouge_score"},
    {"qmsum", "summarization",
     "You are given a meeting transcript and a query containing a question or "
     "instruction. Answer the query in one or more sentences.\n\nTranscript:\n{context}\n\n"
     "Now, answer the query based on the above meeting transcript in one or more "
     "sentences.\n\nQuery: {input}\nAnswer:",
     512, "rouge_score"},
    {"multi_news", "summarization",
     "You are given several news passages. Write a one-page summary of all news. \n\n"
     "News:\n{context}\n\nNow, write a one-page summary of all the news.\n\nSummary:",
     512, "rouge_score"},
    {"trec", "few_shots",
     "Please determine the type of the question below. Here are some examples of "
     "questions.\n\n{context}\n{input}",
     64, "classification_score", false, true},
    {"triviaqa", "few_shots",
     "Answer the question based on the given passage. Only give me the answer and do "
     "not output any other words. The following are some examples.\n\n{context}\n\n{input}",
     32, "qa_f1_score", false, true},
    {"samsum", "few_shots",
     "Summarize the dialogue into a few short sentences. The following are some "
     "examples.\n\n{context}\n\n{input}",
     128, "rouge_score", false, true, true},
    {"passage_retrieval_en", "synthetic",
     "Here are 30 paragraphs from Wikipedia, along with an abstract. Please determine "
     "which paragraph the abstract is from.\n\n{context}\n\nThe following is an abstract.\n"
     "\n{input}\n\nPlease enter the number of the paragraph that the abstract is from. "
     "The answer format must be like \"Paragraph 1\", \"Paragraph 2\", etc.\n\nThe answer "
     "is: ",
     32, "retrieval_score"},
    {"passage_count", "",
     "There are some paragraphs below sourced from Wikipedia. Some of them may be "
     "duplicates. Please carefully read these paragraphs and determine how many "
     "unique paragraphs there are after removing duplicates. In other words, how many "
     "non-repeating paragraphs are there in total?\n\n{context}\n\nPlease enter the final "
     "count of unique paragraphs after removing duplicates. The output format should "
     "only contain the number, such as 1, 2, 3, and so on.\n\nThe final answer is: ",
     32, "count_score"},
    {"lcc", "code", "Please complete the code given below. \n{context}Next line of code:\n", 64,
     "code_sim_score", false},
    {"repobench-p", "code",
     "Please complete the code given below. \n{context}{input}Next line of code:\n", 64,
     "code_sim_score", false},
};

double metric_value(const LongBenchSet& set, const std::string& prediction,
                    const std::string& answer, const LongBenchTruth& truth) {
  const std::string_view metric = set.metric;
  if (metric == "qa_f1_score") return word_f1(prediction, answer);
  if (metric == "rouge_score") return rouge_l(prediction, answer);
  if (metric == "classification_score") return class_match(prediction, answer, truth.classes);
  if (metric == "retrieval_score") {
    const auto number = paragraph_number(answer);
    return number ? share_of_numbers(prediction, *number) : 0;
  }
  if (metric == "count_score") return share_of_numbers(prediction, answer);
  KV_CHECK(metric == "code_sim_score", "metric {}", set.metric);
  return code_similarity(prediction, answer);
}

}  // namespace

const std::vector<LongBenchSet>& longbench_sets() {
  static const std::vector<LongBenchSet> sets(std::begin(kSets), std::end(kSets));
  return sets;
}

const LongBenchSet* find_longbench_set(std::string_view name) {
  const auto set = std::find_if(std::begin(kSets), std::end(kSets),
                                [&](const LongBenchSet& one) { return one.name == name; });
  return set == std::end(kSets) ? nullptr : set;
}

std::string longbench_prediction(const LongBenchSet& set, const std::string& answer) {
  if (!set.first_line) return answer;
  const size_t begin = std::min(answer.find_first_not_of('\n'), answer.size());
  return answer.substr(begin, answer.find('\n', begin) - begin);
}

double longbench_score(const LongBenchSet& set, const std::string& prediction,
                       const LongBenchTruth& truth) {
  double best = 0;
  for (const std::string& answer : truth.answers)
    best = std::max(best, metric_value(set, prediction, answer, truth));
  return best;
}

}  // namespace kv
