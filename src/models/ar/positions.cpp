#include "models/ar/positions.h"

#include <ATen/ops/full.h>

#include <algorithm>

#include "core/error.h"

namespace glmimage {
namespace {

// Appends `count` text positions from `next` on and returns the position after them.
int64_t place_text(PositionTable& table, int64_t count, int64_t next) {
  for (int64_t i = 0; i < count; ++i, ++next) table.push(next, next, next);
  return next;
}

// Appends a picture, row by row, and returns the position after it.
int64_t place_picture(PositionTable& table, const Grid& grid, int64_t base) {
  for (int64_t row = 0; row < grid.height; ++row) {
    for (int64_t column = 0; column < grid.width; ++column) table.push(base, base + row, base + column);
  }
  return base + std::max(grid.height, grid.width);
}

std::vector<int64_t> places_of(const std::vector<int64_t>& ids, int64_t id) {
  std::vector<int64_t> places;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == id) places.push_back(static_cast<int64_t>(i));
  }
  return places;
}

// Returns the position after the prompt.
int64_t place_prompt(PositionTable& table, const std::vector<int64_t>& ids, const std::vector<Grid>& sources,
                     const ImageMarkers& markers) {
  const std::vector<int64_t> begins = places_of(ids, markers.begin), ends = places_of(ids, markers.end);
  int64_t next = 0, placed = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (i >= begins.size())
      fail(ErrorKind::usage, "the prompt has ", ends.size(), " image ends but fewer image begins");
    const int64_t start = begins[i] + 1, end = ends[i];
    if (start < placed || end - start != sources[i].count()) {
      fail(ErrorKind::usage, "picture ", i + 1, " of the prompt holds ", end - start, " ids, expected ",
           sources[i].count(), " for its grid of ", sources[i].height, " x ", sources[i].width,
           "; does the text contain image markers?");
    }
    next = place_text(table, start - placed, next);
    next = place_picture(table, sources[i], next);
    placed = end;
  }
  return place_text(table, static_cast<int64_t>(ids.size()) - placed, next);
}

}  // namespace

void PositionTable::push(int64_t t, int64_t h, int64_t w) {
  temporal.push_back(t);
  height.push_back(h);
  width.push_back(w);
}

void PositionTable::append(const PositionTable& other) {
  temporal.insert(temporal.end(), other.temporal.begin(), other.temporal.end());
  height.insert(height.end(), other.height.begin(), other.height.end());
  width.insert(width.end(), other.width.begin(), other.width.end());
}

ArPositions ar_positions(const std::vector<int64_t>& ids, const std::vector<Grid>& grids, const ImageMarkers& markers) {
  const auto complete = static_cast<size_t>(std::count(ids.begin(), ids.end(), markers.end));
  if (complete > grids.size()) {
    fail(ErrorKind::usage, "the prompt has ", complete, " image ends but ", grids.size(),
         " grids were given; does the text contain image markers?");
  }
  const std::vector<Grid> sources(grids.begin(), grids.begin() + static_cast<std::ptrdiff_t>(complete));
  ArPositions out;
  int64_t next = place_prompt(out.prefill, ids, sources, markers);
  for (size_t i = grids.size(); i > complete; --i) next = place_picture(out.decode, grids[i - 1], next);
  out.decode.push(next, next, next);
  return out;
}

at::Tensor positions_tensor(const std::vector<PositionTable>& rows) {
  int64_t longest = 0;
  for (const PositionTable& row : rows) longest = std::max(longest, row.size());
  const auto batch = static_cast<int64_t>(rows.size());
  at::Tensor out = at::full({3, batch, longest}, 1, at::kLong);  // (3, B, T)
  int64_t* values = out.mutable_data_ptr<int64_t>();
  for (int64_t b = 0; b < batch; ++b) {
    std::copy(rows[b].temporal.begin(), rows[b].temporal.end(), values + (0 * batch + b) * longest);
    std::copy(rows[b].height.begin(), rows[b].height.end(), values + (1 * batch + b) * longest);
    std::copy(rows[b].width.begin(), rows[b].width.end(), values + (2 * batch + b) * longest);
  }
  return out;
}

at::Tensor positions_tensor(const PositionTable& row) { return positions_tensor(std::vector<PositionTable>{row}); }

}  // namespace glmimage
