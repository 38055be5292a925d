#include "hub/byte_ranges.h"

#include <algorithm>
#include <iterator>

namespace glmimage::hub {

void ByteRanges::add(ByteRange range) {
  if (range.begin >= range.end) return;
  auto at = ranges_.upper_bound(range.begin);
  if (at != ranges_.begin() && std::prev(at)->second >= range.begin) --at;
  while (at != ranges_.end() && at->first <= range.end) {
    range.begin = std::min(range.begin, at->first);
    range.end = std::max(range.end, at->second);
    at = ranges_.erase(at);
  }
  ranges_.emplace(range.begin, range.end);
}

int64_t ByteRanges::count() const {
  int64_t sum = 0;
  for (const auto& [begin, end] : ranges_) sum += end - begin;
  return sum;
}

ByteRange ByteRanges::first_gap(int64_t size, int64_t most) const {
  int64_t begin = 0, next = size;
  for (const auto& [from, to] : ranges_) {
    if (from > begin) {
      next = from;
      break;
    }
    begin = to;
  }
  if (begin >= size) return {size, size};
  next = std::min(next, size);
  return {begin, begin + std::min(next - begin, most)};
}

}  // namespace glmimage::hub
