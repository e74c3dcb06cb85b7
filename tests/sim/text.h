// The protocol's states, events and actions as people read them.
#pragma once

#include <string>

#include "proto/header.h"
#include "proto/page.h"

namespace dsm::sim {

std::string set_text(NodeSet set);                     // "{0,3}"
std::string word_text(proto::Word word, NodeId home);  // "exclusive 2 {0,3}", "shared {1}"
std::string header_text(proto::Header word);           // "version 3, locked by 2, writing"
constexpr std::int64_t shown(std::uint64_t value) { return static_cast<std::int64_t>(value); }  // -1: never written
const char* access_text(Access access);
const char* phase_text(proto::Phase phase);
const char* kind_text(proto::MessageKind kind);
std::string page_text(const proto::Page& page, proto::Place place);
std::string event_text(const proto::Event& event, proto::Place place);
std::string actions_text(const proto::Actions& actions, proto::Place place);

}  // namespace dsm::sim
