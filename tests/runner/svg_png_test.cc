// Pictures are drawn as their SVG says, text included.
#include "runner/svg_png.h"

#include <cairo.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "engine/error.h"
#include "runner/chart_svg.h"

namespace kv {
namespace {

struct Picture {
  int width = 0, height = 0;
  std::vector<uint32_t> pixels;  // (height, width) 0xAARRGGBB

  uint32_t at(int x, int y) const { return pixels[static_cast<size_t>(y) * width + x]; }
  int count_dark() const {
    int n = 0;
    for (const uint32_t pixel : pixels) n += (pixel & 0xff) < 128;
    return n;
  }
};

struct Bytes {
  const std::string& text;
  size_t at = 0;
};

cairo_status_t read_bytes(void* from, unsigned char* into, unsigned int count) {
  Bytes& bytes = *static_cast<Bytes*>(from);
  if (bytes.at + count > bytes.text.size()) return CAIRO_STATUS_READ_ERROR;
  std::memcpy(into, bytes.text.data() + bytes.at, count);
  bytes.at += count;
  return CAIRO_STATUS_SUCCESS;
}

Picture decode(const std::string& png) {
  Bytes bytes{png};
  cairo_surface_t* surface = cairo_image_surface_create_from_png_stream(read_bytes, &bytes);
  Picture picture;
  EXPECT_EQ(cairo_surface_status(surface), CAIRO_STATUS_SUCCESS);
  picture.width = cairo_image_surface_get_width(surface);
  picture.height = cairo_image_surface_get_height(surface);
  const int stride = cairo_image_surface_get_stride(surface);
  const unsigned char* data = cairo_image_surface_get_data(surface);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      uint32_t pixel = 0;
      std::memcpy(&pixel, data + static_cast<size_t>(y) * stride + 4 * static_cast<size_t>(x), 4);
      picture.pixels.push_back(pixel | 0xff000000u);
    }
  }
  cairo_surface_destroy(surface);
  return picture;
}

TEST(SvgPng, DrawsShapesAtTheirPlaces) {
  const Picture picture =
      decode(png_of_svg("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"10\" height=\"6\">"
                        "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
                        "<rect x=\"5\" width=\"5\" height=\"6\" fill=\"#0072b2\"/></svg>",
                        3));
  ASSERT_EQ(picture.width, 30);
  ASSERT_EQ(picture.height, 18);
  EXPECT_EQ(picture.at(2, 2), 0xffffffffu);
  EXPECT_EQ(picture.at(20, 9), 0xff0072b2u);
}

// Without a font pictures would come out silently without their words.
TEST(SvgPng, DrawsTheTextOfCharts) {
  const ChartPanel panel{"panel", "x", "y", {{"one", {{0.5, 2, 1, 3}}, false, "", false}}};
  const auto dark = [&](const std::string& title) {
    return decode(png_of_svg(chart_svg(title, {panel}, 1))).count_dark();
  };
  EXPECT_GT(dark("WWWWWWWWWW"), dark("") + 500);
}

TEST(SvgPng, WhatIsNoPictureIsAnError) {
  for (const char* text : {"", "no picture", "<svg xmlns=\"http://www.w3.org/2000/svg\"><rect>"}) {
    try {
      png_of_svg(text);
      FAIL() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kData);
      EXPECT_NE(std::string(e.what()).find("picture"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace kv
