// Pictures of the rows that a policy kept: a line for each KV head of each layer, positions from left
// to right.
#pragma once

#include <string>
#include <vector>

#include "runner/kept_rows.h"

namespace kv {

// For report.html, whose style sheet names the colours.
std::string kept_svg(const KeptRows& kept, const std::string& title, int64_t n_context);

struct KeptPicture {
  std::string title;
  KeptRows kept;
  int64_t n_context = 0;
};

// A file that stands alone: pictures one below the other, each under its title.
std::string kept_file_svg(const std::vector<KeptPicture>& pictures);

}  // namespace kv
