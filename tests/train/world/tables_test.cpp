#include <gmock/gmock.h>

#include <cctype>
#include <cmath>
#include <map>
#include <set>

#include "text/utf8.h"
#include "train/world/world_helpers.h"

namespace glmimage::train::world {
namespace {

std::vector<std::string> names_of(const Emoji& emoji) {
  std::vector<std::string> names = {emoji.name};
  for (const char* other : {emoji.alias, emoji.plural}) {
    if (other != nullptr) names.emplace_back(other);
  }
  return names;
}

std::string without_article(const std::string& name) {
  for (const std::string article : {"a ", "an ", "the "}) {
    if (name.starts_with(article)) return name.substr(article.size());
  }
  return name;
}

TEST(WorldTables, AreLargeEnough) {
  EXPECT_GE(emoji_table().size(), 200U);
  EXPECT_EQ(colour_table().size(), 12U);
  EXPECT_EQ(shape_table().size(), 8U);
  EXPECT_EQ(chinese_signs().size(), 200U);
  EXPECT_EQ(class_count(), static_cast<int64_t>(2 + emoji_table().size() + 12 * 8));
}

TEST(WorldTables, ClassesHaveNamesOfTheirOwn) {
  const std::set<std::string> names(class_names().begin(), class_names().end());
  EXPECT_EQ(static_cast<int64_t>(class_names().size()), class_count());
  EXPECT_EQ(names.size(), class_names().size());
  EXPECT_EQ(class_names().front(), "background");
  EXPECT_EQ(class_names()[text_class()], "text");
}

// No two emoji share a name, an alias, a plural or a Chinese name, with or without the article, and none is called as a
// shape is ("star", "red heart").
TEST(WorldTables, NamesAreUnambiguous) {
  std::map<std::string, std::string> owners;
  for (const Shape& shape : shape_table()) {
    for (const std::string ending : {"", "s", "es"}) owners[shape.name + ending] = "a shape";
    for (const Colour& colour : colour_table()) {
      for (const std::string ending : {"", "s", "es"}) {
        owners[std::string(colour.name) + " " + shape.name + ending] = "a shape";
      }
    }
  }
  std::set<std::string> chinese;
  std::set<char32_t> code_points;
  for (const Emoji& emoji : emoji_table()) {
    std::set<std::string> own;  // an alias may be the name with another article
    for (const std::string& name : names_of(emoji)) own.insert(without_article(name));
    for (const std::string& name : own) {
      EXPECT_TRUE(owners.emplace(name, emoji.name).second) << name << ": " << emoji.name << " and " << owners[name];
    }
    EXPECT_TRUE(chinese.insert(emoji.chinese).second) << emoji.chinese;
    EXPECT_TRUE(code_points.insert(emoji.code_point).second) << emoji.name;
  }
}

// Quotation marks, an apostrophe too, would be read as text to write.
TEST(WorldTables, NamesHaveNoQuotationMarks) {
  for (const Emoji& emoji : emoji_table()) {
    for (const std::string& name : names_of(emoji)) {
      EXPECT_EQ(name.find_first_of("'\""), std::string::npos) << name;
      EXPECT_TRUE(std::all_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x80; })) << name;
    }
    const char first = without_article(emoji.name)[0];
    const bool vowel = std::string("aeiou").find(first) != std::string::npos;
    const std::string name = emoji.name;
    EXPECT_TRUE(!name.starts_with("a ") || !vowel || name == "a unicorn") << name;
    EXPECT_TRUE(!name.starts_with("an ") || vowel || name == "an hourglass") << name;
    EXPECT_EQ(emoji.plural == nullptr, !name.starts_with("a ") && !name.starts_with("an ")) << name;
    EXPECT_GE(std::string(emoji.chinese).size(), 6U) << "a measure word and a name: " << emoji.chinese;
  }
}

TEST(WorldTables, ColoursAreFarApart) {
  const auto& table = colour_table();
  for (size_t a = 0; a < table.size(); ++a) {
    for (size_t b = 0; b < a; ++b) {
      double square = 0;
      for (size_t c = 0; c < 3; ++c) square += std::pow(static_cast<double>(table[a].rgb[c]) - table[b].rgb[c], 2);
      EXPECT_GT(std::sqrt(square), 80) << table[a].name << " and " << table[b].name;
    }
  }
}

TEST(WorldTables, WordsAreOfSignsTheWorldWrites) {
  for (const std::string word : word_table()) {
    EXPECT_TRUE(word.size() >= 2 && word.size() <= 8) << word;
    EXPECT_TRUE(std::all_of(word.begin(), word.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) << word;
  }
  const std::set<std::string> words(word_table().begin(), word_table().end());
  EXPECT_EQ(words.size(), word_table().size());
  const std::set<char32_t> signs(chinese_signs().begin(), chinese_signs().end());
  EXPECT_EQ(signs.size(), chinese_signs().size());
  for (const std::string word : chinese_word_table()) {
    EXPECT_EQ(word.size(), 6U) << word;
    for (size_t i = 0; i < word.size();) EXPECT_TRUE(signs.contains(next_code_point(word, i))) << word;
  }
}

}  // namespace
}  // namespace glmimage::train::world
