// The table of filters, filled by filters.cc and list_filters.cc.
#pragma once

#include <map>
#include <string>

#include "engine/jinja/builtins.h"

namespace kv::jinja {

using Filter = Value (*)(const Value& input, ArgumentReader& arguments);
using FilterTable = std::map<std::string, Filter>;

void add_value_filters(FilterTable& table);
void add_list_filters(FilterTable& table);

}  // namespace kv::jinja
