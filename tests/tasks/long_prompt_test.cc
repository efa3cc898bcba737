// Tasks on generated long texts: what is asked for stands in the text, prompts fit their lengths,
// and nothing depends on how many are made.
#include "tasks/long_prompt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tasks/haystack.h"
#include "tasks/scorers/string_match.h"
#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

using Entries = std::vector<std::pair<std::string, Value>>;

const std::vector<std::string> kTasks = {"needles", "variable_tracking", "common_words",
                                         "frequent_words", "fact_qa"};

std::vector<Sample> samples_of(const std::string& task, Entries entries, const TextTools& tools,
                               int limit = -1) {
  return make_task(task_value(task, std::move(entries)), ".")->samples(tools, limit);
}

// One short prompt as text; bytes are tokens.
Sample one_sample(const std::string& task, Entries entries, double length = 2000) {
  entries.emplace_back("lengths", number_list({length}));
  entries.emplace_back("samples", Value::of(1.0));
  return samples_of(task, std::move(entries), byte_tools()).at(0);
}

std::string text_of(const std::vector<int32_t>& ids) {
  return byte_tools().decode(ids);
}

std::vector<std::string> expected_of(const Sample& sample) {
  std::vector<std::string> lines;
  std::istringstream in(sample.meta.at("expected"));
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Draws, AreTheSameOfOneStreamAndDifferAmongStreams) {
  Draws a(1, 2), b(1, 2), c(1, 3);
  const std::string digits = a.digits(20);
  EXPECT_EQ(digits, b.digits(20));
  EXPECT_NE(digits, c.digits(20));
  EXPECT_EQ(a.made_up(3).size(), 6u);
  for (int i = 0; i < 200; ++i) EXPECT_NE(a.digits(1), "0");
}

TEST(Draws, PlacesAreDifferentAndEquallyLikely) {
  Draws draws(5, 0);
  std::vector<int> seen(6, 0);
  for (int i = 0; i < 3000; ++i) {
    const std::vector<size_t> places = draws.places(6, 2);
    ASSERT_NE(places[0], places[1]);
    for (size_t place : places) ++seen.at(place);
  }
  for (int n : seen) EXPECT_NEAR(n, 1000, 120);  // 4 standard deviations
  EXPECT_EQ(draws.places(4, 4).size(), 4u);
}

// RULER's string_match_all and string_match_part, worked out by hand from their definition.
TEST(StringMatch, SharesOfWhatIsExpected) {
  EXPECT_EQ(string_match("They are 12, 34.", {"12", "34"}), 1);
  EXPECT_EQ(string_match("They are 12.", {"12", "34", "56", "78"}), 0.25);
  EXPECT_EQ(string_match("HARBOR", {"harbor"}), 1);
  EXPECT_EQ(string_match("a harbor", {"Harbor"}), 1);
  EXPECT_EQ(string_match("har\nbor", {"harbor"}), 1);  // control characters are removed
  EXPECT_EQ(string_match("12\t34", {"1234"}), 1);
  EXPECT_EQ(string_match("", {"x"}), 0);
  EXPECT_EQ(string_match("1043321 and more", {"104332"}), 1);  // a part is enough
}

TEST(LongPrompts, FitTheirLengthsAndNeedNoData) {
  for (const std::string& task : kTasks) {
    const auto samples = samples_of(
        task, {{"lengths", number_list({400, 700})}, {"samples", Value::of(3.0)}}, word_tools());
    ASSERT_EQ(samples.size(), 6u) << task;
    std::set<std::string> ids;
    for (const Sample& sample : samples) {
      const size_t length = std::stoul(sample.meta.at("length"));
      const size_t tokens = sample.context_ids.size() + sample.continuation_ids.size();
      EXPECT_LE(tokens, length) << task << " " << sample.id;
      EXPECT_GE(tokens + 16, length) << task << " " << sample.id;  // a unit of common_words is two
      EXPECT_EQ(sample.stop, std::vector<std::string>{"\n"});
      ids.insert(sample.id);
    }
    EXPECT_EQ(ids.size(), samples.size()) << task;
  }
}

TEST(LongPrompts, ALimitAndOtherLengthsChangeNoSample) {
  for (const std::string& task : kTasks) {
    const auto all = samples_of(
        task, {{"lengths", number_list({400, 700})}, {"samples", Value::of(3.0)}}, word_tools());
    const auto few = samples_of(
        task, {{"lengths", number_list({400, 700})}, {"samples", Value::of(3.0)}}, word_tools(), 4);
    const auto other = samples_of(
        task, {{"lengths", number_list({700})}, {"samples", Value::of(2.0)}}, word_tools());
    ASSERT_EQ(few.size(), 4u);
    for (size_t i = 0; i < few.size(); ++i) {
      EXPECT_EQ(few[i].id, all[i].id);
      EXPECT_EQ(few[i].context_ids, all[i].context_ids);
      EXPECT_EQ(few[i].meta, all[i].meta);
    }
    EXPECT_EQ(other.at(1).meta.at("expected"), all.at(4).meta.at("expected")) << task;
  }
}

TEST(LongPrompts, SeedsDiffer) {
  for (const std::string& task : kTasks) {
    EXPECT_NE(one_sample(task, {{"seed", Value::of(1.0)}}, 3000).context_ids,
              one_sample(task, {{"seed", Value::of(2.0)}}, 3000).context_ids)
        << task;
  }
}

TEST(LongPrompts, TheBlankStandsWhereTheTokenizerHasIt) {
  // Bytes: the blank is a token of its own, so it belongs to the question.
  const std::string bytes = text_of(one_sample("fact_qa", {}).continuation_ids);
  EXPECT_EQ(bytes.back(), ' ');
  // A blank sticks to the letter behind it, as in byte-level BPE: it belongs to the answer. Digits
  // are tokens of their own.
  TextTools tools = byte_tools();
  tools.encode = [](const std::string& text, bool) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < text.size(); ++i) {
      const bool sticks = text[i] == ' ' && i + 1 < text.size() && std::isalpha(text[i + 1]);
      ids.push_back(sticks ? 1000 + text[++i] : text[i]);
    }
    return ids;
  };
  const Entries size = {{"lengths", number_list({900})}, {"samples", Value::of(1.0)}};
  EXPECT_NE(samples_of("fact_qa", size, tools).at(0).continuation_ids.back(), ' ');
  EXPECT_EQ(samples_of("needles", size, tools).at(0).continuation_ids.back(), ' ');
}

TEST(LongPrompts, TheChatTemplateStandsAroundThePrompt) {
  TextTools tools = byte_tools();
  tools.split_chat = [](const std::string& context) {
    return std::pair("<user>" + context, std::string("</user><assistant>"));
  };
  const auto samples = samples_of(
      "needles",
      {{"lengths", number_list({900})}, {"samples", Value::of(1.0)}, {"chat", Value::of(true)}},
      tools);
  EXPECT_EQ(text_of(samples.at(0).context_ids).rfind("<user>There is", 0), 0u);
  const std::string question = text_of(samples.at(0).continuation_ids);
  EXPECT_NE(question.find("? </user><assistant>The pass key of the"), question.npos) << question;
  EXPECT_TRUE(samples.at(0).stop.empty());
  EXPECT_LE(samples.at(0).context_ids.size() + samples.at(0).continuation_ids.size(), 900u);
}

TEST(LongPrompts, ASolvedExampleComesFirst) {
  const Sample sample = one_sample("variable_tracking", {});
  const std::string context = text_of(sample.context_ids);
  EXPECT_EQ(count_of(context, "Some variables are set"), 2u);
  const size_t second = context.rfind("Some variables are set");
  EXPECT_EQ(context.substr(second - 2, 2), "\n\n");
  EXPECT_NE(context.substr(0, second).find("variables are"), context.npos);
  const Sample bare = one_sample("variable_tracking", {{"examples", Value::of(0.0)}});
  EXPECT_EQ(count_of(text_of(bare.context_ids), "Some variables are set"), 1u);
}

TEST(LongPrompts, Errors) {
  const auto message = [](const std::string& task, Entries entries, const TextTools& tools) {
    return error_of([&] { samples_of(task, std::move(entries), tools); });
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(message("needles", {{"lengths", number_list({8})}}, byte_tools()),
                  "length 8 is too short"));
  EXPECT_TRUE(
      has(message("needles", {{"lengths", number_list({800, 800})}}, byte_tools()), "twice"));
  EXPECT_TRUE(has(message("needles", {}, TextTools{}), "no tokenizer"));
  EXPECT_TRUE(has(message("needles", {{"ask", text_value("apart")}}, byte_tools()), "multiquery"));
  EXPECT_TRUE(has(message("fact_qa", {{"hops", Value::of(3.0)}}, byte_tools()), "hops"));
  EXPECT_TRUE(has(message("common_words", {{"other_times", Value::of(10.0)}}, byte_tools()),
                  "must be more than"));
  EXPECT_TRUE(
      has(message("common_words", {{"data", text_value("no.txt")}}, byte_tools()), "no.txt"));
}

TEST(Haystack, TextsStandBeforeTheirWords) {
  Haystack haystack("one two three ");
  EXPECT_EQ(haystack.with_texts(4, {{4, "D."}, {1, "A."}, {1, "B."}, {0, "C."}}),
            "C. one A. B. two three one D. ");
  EXPECT_EQ(haystack.with_texts(0, {{0, "A."}}), "A. ");
}

TEST(Haystack, TheLargestThatFits) {
  for (const size_t guess : {0, 3, 41, 42, 43}) {
    EXPECT_EQ(largest_that_fits(100, guess, [](size_t n) { return n <= 42; }), 42u);
  }
  EXPECT_EQ(largest_that_fits(10, 9, [](size_t) { return true; }), 9u);
  EXPECT_EQ(largest_that_fits(10, 0, [](size_t n) { return n == 0; }), 0u);
}

TEST(Needles, OneOfSeveralIsAskedFor) {
  const Sample sample = one_sample("needles", {{"kind", text_value("multikey")}});
  const std::string context = text_of(sample.context_ids);
  EXPECT_EQ(count_of(context, "The pass key of the "), 4u);
  const auto expected = expected_of(sample);
  ASSERT_EQ(expected.size(), 1u);
  EXPECT_EQ(expected[0].size(), 7u);
  const std::string question = text_of(sample.continuation_ids);
  const std::string name = question.substr(29, question.find('?') - 29);
  EXPECT_EQ(question,
            "\nWhat is the pass key of the " + name + "? The pass key of the " + name + " is ");
  EXPECT_EQ(count_of(context, "The pass key of the " + name + " is " + expected[0] + "."), 1u);
}

TEST(Needles, AllValuesOfOneName) {
  const Sample sample =
      one_sample("needles", {{"kind", text_value("multivalue")}, {"count", Value::of(3.0)}});
  const std::string context = text_of(sample.context_ids);
  const auto expected = expected_of(sample);
  ASSERT_EQ(expected.size(), 3u);
  const std::string question = text_of(sample.continuation_ids);
  EXPECT_EQ(question.rfind("\nWhat are the 3 pass keys of the ", 0), 0u) << question;
  for (const std::string& key : expected)
    EXPECT_EQ(count_of(context, " is " + key + "."), 1u) << key;
}

TEST(Needles, SeveralNamesTogetherOrApart) {
  const Sample together = one_sample("needles", {{"kind", text_value("multiquery")}});
  EXPECT_EQ(expected_of(together).size(), 4u);
  EXPECT_NE(text_of(together.continuation_ids).find(" and the "), std::string::npos);
  const auto apart = samples_of("needles",
                                {{"kind", text_value("multiquery")},
                                 {"ask", text_value("apart")},
                                 {"lengths", number_list({2000})},
                                 {"samples", Value::of(1.0)}},
                                byte_tools());
  ASSERT_EQ(apart.size(), 4u);
  std::string all;
  for (size_t i = 0; i < apart.size(); ++i) {
    EXPECT_EQ(apart[i].context_ids, apart[0].context_ids);  // prefilled once
    EXPECT_EQ(apart[i].id, "len2000-0-q" + std::to_string(i));
    all += (i == 0 ? "" : "\n") + apart[i].meta.at("expected");
  }
  EXPECT_EQ(all, together.meta.at("expected"));
}

TEST(Needles, AmongOtherNeedlesEveryNameComesOnce) {
  const Sample sample = one_sample("needles", {{"haystack", text_value("needles")}}, 6000);
  const std::string context = text_of(sample.context_ids);
  std::set<std::string> names;
  const std::regex line("The pass key of the (\\w+ \\w+) is (\\d{7})\\.");
  size_t count = 0;
  for (std::sregex_iterator at(context.begin(), context.end(), line), end; at != end; ++at, ++count)
    names.insert((*at)[1]);
  EXPECT_GT(count, 80u);
  EXPECT_EQ(names.size(), count);
  EXPECT_EQ(count_of(context, expected_of(sample)[0]), 1u);
}

TEST(VariableTracking, TheSentencesOfAChainStandInItsOrder) {
  const Sample sample =
      one_sample("variable_tracking", {{"chains", Value::of(2.0)}, {"examples", Value::of(0.0)}});
  const std::string context = text_of(sample.context_ids);
  EXPECT_EQ(count_of(context, "Set "), 10u);
  const auto expected = expected_of(sample);
  ASSERT_EQ(expected.size(), 5u);
  // Follows the sentences from the number that is asked for.
  const std::string question = text_of(sample.continuation_ids);
  std::smatch number;
  ASSERT_TRUE(std::regex_search(question, number, std::regex("are (\\d{5}) in the end")));
  std::set<std::string> held = {number[1]};
  const std::regex set("Set (\\w+) to (\\w+)\\.");
  std::vector<std::string> found;
  for (std::sregex_iterator at(context.begin(), context.end(), set), end; at != end; ++at) {
    if (held.count((*at)[2]) == 0) continue;
    held.insert((*at)[1]);
    found.push_back((*at)[1]);
  }
  EXPECT_EQ(found, expected);
}

std::map<std::string, size_t> word_counts(const Sample& sample) {
  const std::string context = text_of(sample.context_ids);
  std::istringstream in(context.substr(context.rfind("Remember those.\n") + 16));
  std::map<std::string, size_t> counts;
  for (std::string word; in >> word;) ++counts[word];
  return counts;
}

TEST(CommonWords, ComeAsOftenAsTheTaskSays) {
  const Sample sample = one_sample("common_words", {}, 3000);
  auto counts = word_counts(sample);
  const auto expected = expected_of(sample);
  ASSERT_EQ(expected.size(), 10u);
  for (const std::string& word : expected) {
    EXPECT_EQ(counts[word], 10u) << word;
    counts.erase(word);
  }
  EXPECT_GT(counts.size(), 20u);
  for (const auto& [word, count] : counts) EXPECT_EQ(count, 2u) << word;
}

// A part of another word would be found in it.
TEST(CommonWords, NoShippedWordIsPartOfAnother) {
  const std::vector<std::string> words = shipped_words("common");
  EXPECT_GE(words.size(), 400u);
  for (const std::string& a : words) {
    for (const std::string& b : words) EXPECT_TRUE(a == b || b.find(a) == b.npos) << a << " " << b;
  }
}

TEST(FrequentWords, CountsFallByThePowerLawAndTheAskedOnesLead) {
  for (const double count : {3.0, 6.0}) {
    const Sample sample = one_sample(
        "frequent_words", {{"alpha", Value::of(1.3)}, {"count", Value::of(count)}}, 3000);
    auto counts = word_counts(sample);
    const auto expected = expected_of(sample);
    ASSERT_EQ(expected.size(), static_cast<size_t>(count));
    const double first = static_cast<double>(counts[expected[0]]);
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < expected.size(); ++i) {
      least = std::min(least, counts[expected[i]]);
      EXPECT_EQ(counts[expected[i]], static_cast<size_t>(first * std::pow(i + 1.0, -1.3)));
      counts.erase(expected[i]);
    }
    for (const auto& [word, n] : counts) EXPECT_LT(n, least) << word;
  }
}

TEST(FactQa, TheAnswerFollowsFromOneFact) {
  const Sample sample = one_sample("fact_qa", {});
  const std::string context = text_of(sample.context_ids);
  std::smatch asked;
  const std::string question = text_of(sample.continuation_ids);
  ASSERT_TRUE(std::regex_search(question, asked, std::regex("Where was the (\\w+ \\w+)\\?")));
  EXPECT_TRUE(std::regex_search(context, std::regex("In the " + expected_of(sample)[0] +
                                                    " lay an? " + asked[1].str() + "\\.")));
  EXPECT_EQ(count_of(context, asked[1].str()), 1u);
}

TEST(FactQa, TheAnswerFollowsFromTwoFacts) {
  const Sample sample = one_sample("fact_qa", {{"hops", Value::of(2.0)}});
  const std::string context = text_of(sample.context_ids),
                    question = text_of(sample.continuation_ids);
  std::smatch asked, owner;
  ASSERT_TRUE(std::regex_search(question, asked, std::regex("Where was the (\\w+ \\w+)\\?")));
  ASSERT_TRUE(std::regex_search(context, owner,
                                std::regex("The " + asked[1].str() + " was now with (\\w+)\\.")));
  EXPECT_EQ(count_of(context, owner[1].str() + " was in the " + expected_of(sample)[0] + "."), 1u);
  EXPECT_EQ(count_of(context, " was in the "), 8u);
}

}  // namespace
}  // namespace kv
