#include "core/xmp.h"

#include <array>
#include <pugixml.hpp>
#include <sstream>

#include "core/error.h"
#include "core/utf8.h"

namespace glmimage {
namespace {

constexpr const char* kRdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";

struct Property {
  const char *prefix, *space, *name;
  std::string XmpFields::*field;
};
constexpr std::array<Property, 5> kProperties = {{
    {"xmp", "http://ns.adobe.com/xap/1.0/", "CreatorTool", &XmpFields::creator_tool},
    {"Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "DigitalSourceType",
     &XmpFields::digital_source_type},
    {"TC260", "http://www.tc260.org.cn/ns/AIGC/1.0/", "AIGC", &XmpFields::aigc_label},
    {"glmimage", "urn:glm-image.cpp:xmp:1:", "Recipe", &XmpFields::recipe},
    {"xmpNote", "http://ns.adobe.com/xmp/note/", "HasExtendedXMP", &XmpFields::extension},
}};

// XML 1.0 has no way to write most control characters and two more.
std::string fit_for_xml(const std::string& text) {
  const std::string valid = replace_invalid_utf8(text);
  std::string out;
  for (size_t at = 0; at < valid.size();) {
    const char32_t c = next_code_point(valid, at);
    const bool allowed = c >= 0x20 ? c != 0xFFFE && c != 0xFFFF : c == '\t' || c == '\n' || c == '\r';
    append_utf8(out, allowed ? c : 0xFFFD);
  }
  return out;
}

// Packets have a few dozen. More are an attack on our time, as every name asks for the declaration of its prefix.
constexpr int kMostAttributes = 256, kMostElements = 4096;

// A name as "prefix:local" and the space that the prefix stands for at its node; empty where none is declared.
struct Name {
  std::string space, local;
};

Name resolve(const pugi::xml_node& node, std::string_view name) {
  const size_t colon = name.find(':');
  if (colon == std::string_view::npos) return {"", std::string(name)};
  const std::string declaration = "xmlns:" + std::string(name.substr(0, colon));
  for (pugi::xml_node at = node; at; at = at.parent()) {
    int left = kMostAttributes;
    for (const pugi::xml_attribute& each : at.attributes()) {
      if (declaration == each.name()) return {each.value(), std::string(name.substr(colon + 1))};
      if (--left == 0) break;
    }
  }
  return {"", std::string(name)};
}

void take(const Name& name, const char* value, XmpFields& fields) {
  for (const Property& each : kProperties) {
    if (name.local == each.name && name.space == each.space && (fields.*each.field).empty()) fields.*each.field = value;
  }
}

// The properties of one rdf:Description: its attributes and its elements, of which so many may still be looked at.
void take_all(const pugi::xml_node& description, XmpFields& fields, int& elements) {
  int left = kMostAttributes;
  for (const pugi::xml_attribute& each : description.attributes()) {
    take(resolve(description, each.name()), each.value(), fields);
    if (--left == 0) break;
  }
  for (const pugi::xml_node& each : description.children()) {
    take(resolve(each, each.name()), each.text().get(), fields);
    if (--elements == 0) break;
  }
}

pugi::xml_node find_rdf(const pugi::xml_document& document) {
  const auto is_rdf = [](const pugi::xml_node& node) {
    const Name name = resolve(node, node.name());
    return name.local == "RDF" && name.space == kRdf;
  };
  // As a rule in x:xmpmeta, which may be left out.
  const pugi::xml_node top = document.document_element();
  return is_rdf(top) ? top : top.find_child(is_rdf);
}

}  // namespace

std::string write_xmp(const XmpFields& fields) {
  if (fields == XmpFields{}) return "";
  pugi::xml_document document;
  pugi::xml_node meta = document.append_child("x:xmpmeta");
  meta.append_attribute("xmlns:x").set_value("adobe:ns:meta/");
  pugi::xml_node rdf = meta.append_child("rdf:RDF");
  rdf.append_attribute("xmlns:rdf").set_value(kRdf);
  pugi::xml_node description = rdf.append_child("rdf:Description");
  description.append_attribute("rdf:about").set_value("");
  for (const Property& each : kProperties) {
    const std::string& value = fields.*each.field;
    if (value.empty()) continue;
    description.append_attribute(concat("xmlns:", each.prefix).c_str()).set_value(each.space);
    description.append_child(concat(each.prefix, ":", each.name).c_str()).text().set(fit_for_xml(value).c_str());
  }
  std::ostringstream out;
  out << "<?xpacket begin=\"\xEF\xBB\xBF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n";
  document.save(out, " ", pugi::format_indent | pugi::format_no_declaration, pugi::encoding_utf8);
  out << "<?xpacket end=\"r\"?>";
  return out.str();
}

XmpFields read_xmp(std::string_view packet) {
  pugi::xml_document document;
  const pugi::xml_parse_result result =
      document.load_buffer(packet.data(), packet.size(), pugi::parse_default, pugi::encoding_auto);
  if (!result) fail(ErrorKind::usage, "no XML: ", result.description(), " at byte ", result.offset);
  const pugi::xml_node rdf = find_rdf(document);
  if (!rdf) fail(ErrorKind::usage, "XML without RDF");
  XmpFields fields;
  int elements = kMostElements;
  for (const pugi::xml_node& each : rdf.children()) {
    if (resolve(each, each.name()).local == "Description" && elements > 0) take_all(each, fields, elements);
    if (--elements <= 0) break;
  }
  return fields;
}

}  // namespace glmimage
