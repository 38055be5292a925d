#include "train/world/world_captions.h"

#include <cctype>

#include "train/world/arrangements.h"
#include "train/world/world_tables.h"
#include "train/world/writing.h"

namespace glmimage::train::world {
namespace {

// The words of one caption. Empty parts are left out.
struct Wording {
  std::string opening;     // "a picture of "
  std::string background;  // "on a green background"
  std::string text;        // "with the text \"HELLO\""
  bool aliases = false;
  bool articles = true;  // without: "red apple", and "2 red apples"
};

bool starts_with_vowel(const std::string& word) { return std::string("aeiou").find(word.at(0)) != std::string::npos; }

std::string with_article(const std::string& noun) { return (starts_with_vowel(noun) ? "an " : "a ") + noun; }

std::string without_article(const std::string& phrase) {
  for (const std::string article : {"a ", "an ", "the "}) {
    if (phrase.rfind(article, 0) == 0) return phrase.substr(article.size());
  }
  return phrase;
}

std::string name_of(const Object& object, const Wording& wording) {
  if (object.kind == ObjectKind::shape) {
    return with_article(std::string(colour_table().at(object.colour).name) + " " + shape_table().at(object.index).name);
  }
  const Emoji& emoji = emoji_table().at(object.index);
  return wording.aliases && emoji.alias != nullptr ? emoji.alias : emoji.name;
}

// "two red apples", "3 blue circles"
std::string counted(const Scene& scene, const Wording& wording) {
  static const char* const kNumbers[] = {"zero", "one", "two", "three"};
  const size_t count = scene.objects.size();
  const Object& object = scene.objects[0];
  const std::string number = wording.articles ? kNumbers[count] : std::to_string(count);
  if (object.kind == ObjectKind::emoji) return number + " " + emoji_table().at(object.index).plural;
  const std::string shape = shape_table().at(object.index).name;
  const std::string ending = shape.ends_with("s") ? "es" : "s";
  return number + " " + colour_table().at(object.colour).name + " " + shape + ending;
}

std::string background_of(const Scene& scene) {
  return with_article(std::string(colour_table().at(scene.background).name) + " background");
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

void append(std::string& sentence, const std::string& part) {
  if (part.empty()) return;
  if (!sentence.empty()) sentence += ' ';
  sentence += part;
}

const char* relation_words(Arrangement arrangement) {
  switch (arrangement) {
    case Arrangement::left_of: return "to the left of";
    case Arrangement::right_of: return "to the right of";
    case Arrangement::above: return "above";
    case Arrangement::below: return "below";
    default: return "";
  }
}

const char* place_words(Arrangement arrangement) {
  switch (arrangement) {
    case Arrangement::left: return "on the left of";
    case Arrangement::right: return "on the right of";
    case Arrangement::top: return "at the top of";
    case Arrangement::bottom: return "at the bottom of";
    case Arrangement::top_left: return "in the top left corner of";
    case Arrangement::top_right: return "in the top right corner of";
    case Arrangement::bottom_left: return "in the bottom left corner of";
    case Arrangement::bottom_right: return "in the bottom right corner of";
    default: return "";
  }
}

std::string say(const Scene& scene, const Wording& wording) {
  std::string sentence;
  if (scene.objects.empty()) {
    sentence = "the text " + quoted(scene.text);
  } else if (is_count(scene.arrangement)) {
    sentence = counted(scene, wording);
  } else {
    sentence = name_of(scene.objects[0], wording);
    if (!wording.articles) sentence = without_article(sentence);
    if (scene.objects.size() > 1) {
      append(sentence, relation_words(scene.arrangement));
      append(sentence, name_of(scene.objects[1], wording));
    }
  }
  append(sentence, wording.background);
  append(sentence, wording.text);
  return wording.opening + sentence;
}

Wording canonical_wording(const Scene& scene) {
  Wording wording;
  const std::string place = place_words(scene.arrangement);
  wording.background = (place.empty() ? "on" : place) + " " + background_of(scene);
  if (!scene.objects.empty() && !scene.text.empty()) {
    wording.text = "with the text " + quoted(scene.text);
    if (scene.text_place == TextPlace::top) wording.text += " at the top";
  }
  return wording;
}

// "on the left of a red background" also as "on the left against a red background", and so on.
std::string other_background(const Scene& scene, Dice& dice) {
  std::string place = place_words(scene.arrangement);
  if (!place.empty()) place = place.substr(0, place.size() - 3) + " ";  // without " of"
  switch (dice.below(3)) {
    case 0: return place + "against " + background_of(scene);
    case 1: return place + "on " + std::string(colour_table().at(scene.background).name);
    default: return place + "with " + background_of(scene);
  }
}

std::string other_text(const Scene& scene, Dice& dice) {
  static const char* const kForms[] = {"and the text", "and the word", "with the word", "that says"};
  std::string words = std::string(kForms[dice.below(4)]) + " " + quoted(scene.text);
  if (scene.text_place == TextPlace::top) words += " at the top";
  if (scene.text_place == TextPlace::bottom) words += " at the bottom";
  return words;
}

std::string paraphrase_text_only(const Scene& scene, Dice& dice) {
  const std::string colour = colour_table().at(scene.background).name;
  switch (dice.below(4)) {
    case 0: return with_article(colour) + " sign that says " + quoted(scene.text);
    case 1: return "the word " + quoted(scene.text) + " on " + background_of(scene);
    case 2: return with_article(colour) + " sign with the text " + quoted(scene.text);
    default: return "the text " + quoted(scene.text) + " against " + background_of(scene);
  }
}

std::string paraphrase(const Scene& scene, Dice& dice) {
  static const char* const kOpenings[] = {"a picture of ", "an image of ", "a photo of ", "a drawing of "};
  if (scene.objects.empty()) return paraphrase_text_only(scene, dice);
  Wording wording = canonical_wording(scene);
  switch (dice.below(6)) {
    case 0: wording.opening = kOpenings[dice.below(4)]; break;
    case 1: wording.background = other_background(scene, dice); break;
    case 2: wording.articles = false; break;
    case 3: wording.aliases = true; break;
    case 4:
      // The background unsaid: anything will do.
      wording.background = place_words(scene.arrangement);
      if (!wording.background.empty()) wording.background.resize(wording.background.size() - 3);
      break;
    default:
      wording.opening = dice.percent(50) ? kOpenings[dice.below(4)] : "";
      wording.background = other_background(scene, dice);
      wording.aliases = dice.percent(50);
      if (!scene.text.empty()) wording.text = other_text(scene, dice);
  }
  return say(scene, wording);
}

}  // namespace

std::string canonical_caption(const Scene& scene) { return say(scene, canonical_wording(scene)); }

std::string sample_caption(const Scene& scene, Languages languages, Dice& dice) {
  if (languages == Languages::english_and_chinese) {
    const bool chinese_text = !scene.text.empty() && read_writing(scene.text).script == Script::chinese;
    if (dice.percent(chinese_text ? 40 : 12)) {
      return say_in_chinese(scene, dice.percent(50) ? ChineseNumber::said : ChineseNumber::unsaid);
    }
  }
  if (dice.percent(80)) return canonical_caption(scene);
  std::string caption = paraphrase(scene, dice);
  if (dice.percent(25)) caption[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(caption[0])));
  if (dice.percent(15)) caption += '.';
  return caption;
}

}  // namespace glmimage::train::world
