#include "text/edit_distance.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "text/utf8.h"

namespace glmimage {
namespace {

std::vector<char32_t> characters(const std::string& text) {
  const std::string valid = replace_invalid_utf8(text);
  std::vector<char32_t> out;
  for (size_t at = 0; at < valid.size();) out.push_back(next_code_point(valid, at));
  return out;
}

int64_t distance(const std::vector<char32_t>& a, const std::vector<char32_t>& b) {
  std::vector<int64_t> row(b.size() + 1);  // distances of a's beginning to all beginnings of b
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int64_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

int64_t edit_distance(const std::string& a, const std::string& b) { return distance(characters(a), characters(b)); }

double normalised_edit_distance(const std::string& a, const std::string& b) {
  const std::vector<char32_t> left = characters(a), right = characters(b);
  const size_t longer = std::max(left.size(), right.size());
  return longer == 0 ? 0 : static_cast<double>(distance(left, right)) / static_cast<double>(longer);
}

}  // namespace glmimage
