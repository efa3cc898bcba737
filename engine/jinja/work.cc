#include "engine/jinja/work.h"

#include <fmt/format.h>

#include "engine/jinja/value.h"

namespace kv::jinja {
namespace {

constexpr uint64_t kMostWork = uint64_t{1} << 26;  // seconds
thread_local uint64_t* current = nullptr;

}  // namespace

WorkCounter::WorkCounter() {
  current = &spent_;
}

WorkCounter::~WorkCounter() {
  current = nullptr;
}

void spend(size_t units) {
  if (current == nullptr) return;
  *current += units;
  if (*current > kMostWork) fail("the template takes too much work: does it loop without end?");
}

void check_text(size_t bytes) {
  if (bytes > kLargestText) fail(fmt::format("a text longer than {} bytes", kLargestText));
}

void check_list(size_t items) {
  if (items > kLongestList) fail(fmt::format("a list longer than {} items", kLongestList));
}

void TextBuilder::repeat(std::string_view piece, size_t times) {
  if (piece.empty()) return;
  check_text(times > kLargestText ? times : text_.size() + piece.size() * times);
  for (size_t i = 0; i < times; ++i) text_ += piece;
}

}  // namespace kv::jinja
