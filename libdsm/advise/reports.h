// A report in the forms in which people and programs read it.
#pragma once

#include <string>

#include "advise/advice.h"

namespace dsm::advise {

std::string table_text(const Report& report, std::size_t most);
std::string json_text(const Report& report);
// One file that needs no other: suggestions, pages over time by node, where fault time goes, what each node did when.
std::string html_text(const Report& report, const std::string& title);
// Samples as the events of chrome://tracing and Perfetto: a process a node, a track a thread.
std::string trace_text(const Report& report);

// What reports share: frames without their folders, all but the last; what an event is, in words.
std::string short_text(const std::string& place);
std::string_view name_of(insight::What what);
// What dsmrun --auto-from does about a site, in words; and where the addresses are from, or why there are none.
std::string automatic_text(const insight::Serving& serving);
std::string addresses_text(const Addresses& addresses);

}  // namespace dsm::advise
