// The files of a report: texts, and figures as SVG and PNG.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kv {

// Writes under another name first: a reader never sees half a file. Folders are made. Throws
// Error(kData).
void write_at_once(const std::filesystem::path& path, const std::string& content);

struct Figure {
  std::string name;      // of its files, without .svg and .png
  std::string svg;       // complete, with an explicit background
  double png_scale = 2;  // pixels of the PNG for each of the SVG
};

// dir/<name>.svg and dir/<name>.png. Every SVG is written before the first PNG is drawn: a machine
// that cannot draw loses the PNGs alone. Throws Error(kData) with the file's name.
void write_figures(const std::vector<Figure>& figures, const std::filesystem::path& dir);

}  // namespace kv
