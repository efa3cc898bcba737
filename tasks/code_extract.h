// The code in a model's answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kv {

// Where decoding of a raw continuation may stop: what can only come after the function.
const std::vector<std::string>& function_stops();
// The same where the answer is a whole program, after which models go on with tests or prose.
const std::vector<std::string>& program_stops();

// A continuation of an unfinished function up to where the function ends: the first line that
// starts at column 0 outside of strings and brackets. Comments, decorators and blank lines at
// column 0 stay only where an indented line follows. starts_line: the text begins a new line.
std::string cut_after_function(std::string_view text, bool starts_line = true);

// A whole program up to the first of program_stops().
std::string cut_after_program(std::string_view text);

// Whether some line starts with "def NAME(".
bool defines_function(std::string_view code, std::string_view name);

// The code of a chat answer: the first fenced block that defines `entry_point`, else the first
// block in Python or without a language, else the first one. Without a fence: the lines of code
// from the first definition or import on; "" where there is none of these either.
std::string code_of_chat_answer(std::string_view text, std::string_view entry_point);

}  // namespace kv
