#include <algorithm>
#include <cctype>
#include <cmath>

#include "text/utf8.h"
#include "train/world/arrangements.h"
#include "train/world/world_captions.h"
#include "train/world/world_tables.h"
#include "train/world/writing.h"

namespace glmimage::train::world {
namespace {

Object sample_object(Dice& dice, bool emoji) {
  const int64_t emoji_count = static_cast<int64_t>(emoji_table().size());
  return object_of_class(emoji ? 1 + dice.below(emoji_count)
                               : 1 + emoji_count + dice.below(text_class() - 1 - emoji_count));
}

std::string in_small_letters(std::string word, size_t from) {
  const auto small = [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); };
  std::transform(word.begin() + static_cast<int64_t>(from), word.end(), word.begin() + static_cast<int64_t>(from),
                 small);
  return word;
}

// 50 words of 100, 33 times letters of no meaning, 17 numbers. Of the words 6 of 10 are in capitals, 2 in small
// letters, 2 begin with a capital; of the letters 3 of 4 are capitals, 1 mixed.
std::string sample_latin_text(Dice& dice) {
  const int64_t kind = dice.below(100);
  if (kind < 50) {
    const std::string word = dice.one_of(word_table());
    const int64_t letters = dice.below(10);
    return letters < 6 ? word : in_small_letters(word, letters < 8 ? 0 : 1);
  }
  const bool digits = kind >= 83, mixed = !digits && dice.percent(25);
  std::string text;
  for (int64_t left = dice.between(1, kMostLetters); left > 0; --left) {
    text += static_cast<char>(digits ? '0' + dice.below(10) : 'A' + dice.below(26));
    if (mixed && dice.percent(60)) text = in_small_letters(text, text.size() - 1);
  }
  return text;
}

// Half words, half characters of no meaning.
std::string sample_chinese_text(Dice& dice) {
  if (dice.percent(50)) return dice.one_of(chinese_word_table());
  std::string text;
  for (int64_t left = dice.between(1, kMostCharacters); left > 0; --left) {
    append_utf8(text, dice.one_of(chinese_signs()));
  }
  return text;
}

Arrangement between(Arrangement first, Arrangement last, Dice& dice) {
  return static_cast<Arrangement>(dice.between(static_cast<int64_t>(first), static_cast<int64_t>(last)));
}

// 34 one emoji, 14 one shape, 26 two different objects, 16 two or three equal ones, 10 a text alone.
void sample_objects(Scene& scene, Dice& dice) {
  const int64_t kind = dice.below(100);
  if (kind < 48) {
    scene.arrangement =
        dice.percent(40) ? Arrangement::centre : between(Arrangement::left, Arrangement::bottom_right, dice);
    scene.objects = {sample_object(dice, kind < 34)};
  } else if (kind < 74) {
    scene.arrangement = between(Arrangement::left_of, Arrangement::below, dice);
    do {
      scene.objects = {sample_object(dice, dice.percent(65)), sample_object(dice, dice.percent(65))};
    } while (class_of(scene.objects[0]) == class_of(scene.objects[1]));
  } else if (kind < 90) {
    scene.arrangement = between(Arrangement::row, Arrangement::triangle, dice);
    Object object;
    do {
      object = sample_object(dice, dice.percent(65));
    } while (!countable(object));
    scene.objects.assign(places_of(scene.arrangement).size(), object);
  }
}

}  // namespace

Scene World::draw(Dice& dice) const {
  Scene scene;
  sample_objects(scene, dice);
  const auto drowns = [&](const Object& object) { return !stands_out(object, scene.background); };
  do {
    scene.background = dice.below(background_count());
  } while (std::any_of(scene.objects.begin(), scene.objects.end(), drowns));
  const std::vector<TextPlace>& places = text_places(scene.arrangement);
  if (scene.objects.empty() || (!places.empty() && dice.percent(std::lround(100 * options_.words)))) {
    const bool chinese = options_.languages == Languages::english_and_chinese && dice.percent(25);
    scene.text = chinese ? sample_chinese_text(dice) : sample_latin_text(dice);
    scene.text_place = dice.percent(75) ? places.front() : places.back();
  }
  return scene;
}

Scene World::sample_either(std::mt19937_64& random, bool held) const {
  Dice dice(random);
  Scene scene = draw(dice);
  while (held_out(scene) != held) scene = draw(dice);
  lay_out(scene);
  scene.caption = sample_caption(scene, options_.languages, dice);
  return scene;
}

Scene World::sample(std::mt19937_64& random) const { return sample_either(random, false); }

Scene World::sample_held_out(std::mt19937_64& random) const { return sample_either(random, true); }

}  // namespace glmimage::train::world
